// Checks the directory of a trail with Go's reference implementation of these logs (golang.org/x/mod/sumdb): signature, every tile
// computed again from the entries, the root, proofs of inclusion and of consistency. No line of Livetrail takes part.
//
//	check DIR VERIFIER-KEY OLDER-CHECKPOINT
package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Of so many entries, one has its inclusion proved by tiles; the last one always has.
const proveEvery = 17

func main() {
	if len(os.Args) != 4 {
		fail(fmt.Errorf("usage: check DIR VERIFIER-KEY OLDER-CHECKPOINT"))
	}
	dir, key := os.Args[1], os.Args[2]
	head, err := open(filepath.Join(dir, "checkpoint"), key)
	fail(err)
	older, err := open(os.Args[3], key)
	fail(err)
	leaves, err := entries(dir, head.N)
	fail(err)
	stored, err := store(leaves)
	fail(err)
	root, err := tlog.TreeHash(head.N, stored)
	fail(err)
	if root != head.Hash {
		fail(fmt.Errorf("the entries give the root %v, the checkpoint says %v", root, head.Hash))
	}
	tiles, err := compare(dir, head.N, stored)
	fail(err)
	proofs, err := prove(dir, head, older, leaves)
	fail(err)
	fmt.Printf("%d entries, %d tiles, %d proofs, consistent with %d\n", head.N, tiles, proofs, older.N)
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// open verifies a checkpoint and takes it apart.
func open(path, key string) (tlog.Tree, error) {
	var tree tlog.Tree
	bytes, err := os.ReadFile(path)
	if err != nil {
		return tree, err
	}
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return tree, err
	}
	opened, err := note.Open(bytes, note.VerifierList(verifier))
	if err != nil {
		return tree, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() || lines[3] != "" {
		return tree, fmt.Errorf("%s: not a checkpoint of %s", path, verifier.Name())
	}
	if tree.N, err = strconv.ParseInt(lines[1], 10, 64); err != nil {
		return tree, err
	}
	tree.Hash, err = tlog.ParseHash(lines[2])
	return tree, err
}

// entries reads every bundle of a tree of this size.
func entries(dir string, size int64) ([][]byte, error) {
	var all [][]byte
	for n := int64(0); n < (size+255)/256; n++ {
		width := size - n*256
		if width > 256 {
			width = 256
		}
		// Go's tiles of level -1 are other bundles at another path; their numbers are written the same way.
		path := tilePath(tlog.Tile{H: 8, L: 0, N: n, W: int(width)})
		path = filepath.Join("tile", "entries", strings.TrimPrefix(path, "tile/0/"))
		rest, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil {
			return nil, err
		}
		for i := int64(0); i < width; i++ {
			if len(rest) < 2 || len(rest)-2 < int(binary.BigEndian.Uint16(rest)) {
				return nil, fmt.Errorf("%s ends within entry %d", path, i)
			}
			length := int(binary.BigEndian.Uint16(rest))
			all = append(all, rest[2:2+length])
			rest = rest[2+length:]
		}
		if len(rest) > 0 {
			return nil, fmt.Errorf("%s has more than %d entries", path, width)
		}
	}
	return all, nil
}

// store computes all hashes of the tree.
func store(leaves [][]byte) (tlog.HashReader, error) {
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, len(indexes))
		for i, at := range indexes {
			hashes[i] = stored[at]
		}
		return hashes, nil
	})
	for n, leaf := range leaves {
		hashes, err := tlog.StoredHashes(int64(n), leaf, reader)
		if err != nil {
			return nil, err
		}
		stored = append(stored, hashes...)
	}
	return reader, nil
}

// compare computes every tile of a tree of this size and compares it with its file.
func compare(dir string, size int64, stored tlog.HashReader) (int, error) {
	compared := 0
	for _, tile := range tlog.NewTiles(8, 0, size) {
		// Of the last tile of a level it lists every width; a tree of this size has the widest.
		if width := size>>(8*tile.L) - tile.N*256; width < 256 && int64(tile.W) != width {
			continue
		}
		wanted, err := tlog.ReadTileData(tile, stored)
		if err != nil {
			return 0, err
		}
		found, err := os.ReadFile(filepath.Join(dir, tilePath(tile)))
		if err != nil {
			return 0, err
		}
		if !bytes.Equal(found, wanted) {
			return 0, fmt.Errorf("%s is not what its entries give", tilePath(tile))
		}
		compared++
	}
	return compared, nil
}

// prove makes proofs from the files alone and checks them against the signed root.
func prove(dir string, head, older tlog.Tree, leaves [][]byte) (int, error) {
	files := tlog.TileHashReader(head, directory(dir))
	proofs := 0
	for n := int64(0); n < head.N; n++ {
		if n%proveEvery != 0 && n != head.N-1 {
			continue
		}
		proof, err := tlog.ProveRecord(head.N, n, files)
		if err != nil {
			return 0, err
		}
		if err := tlog.CheckRecord(proof, head.N, head.Hash, n, tlog.RecordHash(leaves[n])); err != nil {
			return 0, err
		}
		proofs++
	}
	proof, err := tlog.ProveTree(head.N, older.N, files)
	if err != nil {
		return 0, err
	}
	return proofs + 1, tlog.CheckTree(proof, head.N, head.Hash, older.N, older.Hash)
}

// directory reads tiles for proofs.
type directory string

func (directory) Height() int                      { return 8 }
func (directory) SaveTiles([]tlog.Tile, [][]byte) {}

func (dir directory) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	all := make([][]byte, len(tiles))
	for i, tile := range tiles {
		bytes, err := os.ReadFile(filepath.Join(string(dir), tilePath(tile)))
		if err != nil {
			return nil, err
		}
		all[i] = bytes
	}
	return all, nil
}

// tilePath is Go's path without the height, which is 8 for all.
func tilePath(tile tlog.Tile) string {
	return "tile/" + strings.TrimPrefix(tile.Path(), "tile/8/")
}
