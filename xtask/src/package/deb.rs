//! A Debian package: a staged tree, its control files, and `dpkg-deb`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::Build;
use crate::process::read;

/// Files of `packaging/`: where they are, where they go, their mode.
const FILES: [(&str, &str, u32); 6] = [
    (
        "packaging/livetrail.service",
        "usr/lib/systemd/system/livetrail.service",
        0o644,
    ),
    (
        "packaging/livetrail.sysusers",
        "usr/lib/sysusers.d/livetrail.conf",
        0o644,
    ),
    (
        "packaging/livetrail.toml",
        "etc/livetrail/livetrail.toml",
        0o640,
    ),
    (
        "crates/livetrail-server/livetrail.example.toml",
        "usr/share/doc/livetrail/examples/livetrail.toml",
        0o644,
    ),
    (
        "packaging/monitoring/prometheus-rules.yml",
        "usr/share/doc/livetrail/examples/prometheus-rules.yml",
        0o644,
    ),
    (
        "packaging/monitoring/grafana-dashboard.json",
        "usr/share/doc/livetrail/examples/grafana-dashboard.json",
        0o644,
    ),
];

/// Documents: the administrator has no network at three in the morning.
const DOCUMENTS: [&str; 6] = [
    "README.md",
    "CHANGELOG.md",
    "docs/operator.md",
    "docs/packages.md",
    "docs/http-api.md",
    "docs/metrics.md",
];

const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

/// A staged tree.
pub(super) struct Deb {
    tree: PathBuf,
    out: PathBuf,
    /// How `dpkg-deb` compresses: well, or in a short time.
    compression: [&'static str; 2],
    pub(super) version: String,
    control: Vec<(&'static str, String)>,
    /// When the sources were committed, in seconds since 1970: the times of all files.
    epoch: String,
}

impl Deb {
    /// Puts all files where an installation has them.
    pub(super) fn stage(
        root: &Path,
        out: &Path,
        build: Build,
        programs: &[PathBuf],
        pages: &Path,
        sbom: &str,
    ) -> Result<Self> {
        let tree = out.join("tree");
        for program in programs {
            let name = program.file_name().context("a program's name")?;
            let to = tree.join("usr/bin").join(name);
            put(program, &to, 0o755)?;
            read(Command::new("strip").arg(&to))?;
        }
        for (from, to, mode) in FILES {
            put(&root.join(from), &tree.join(to), mode)?;
        }
        fs::set_permissions(
            tree.join("etc/livetrail"),
            fs::Permissions::from_mode(0o750),
        )?;
        let documents = tree.join("usr/share/doc/livetrail");
        for from in DOCUMENTS {
            let name = Path::new(from).file_name().context("a name")?;
            put(&root.join(from), &documents.join(name), 0o644)?;
        }
        write(&documents.join("livetrail.cdx.json"), sbom.as_bytes())?;
        let licences = [
            fs::read_to_string(root.join("LICENSE-APACHE"))?,
            fs::read_to_string(root.join("LICENSE-MIT"))?,
        ];
        let copyright = licences.join("\n\n----\n\n");
        write(&documents.join("copyright"), copyright.as_bytes())?;
        generated(&tree, pages)?;
        let manifest: toml::Table = fs::read_to_string(root.join("Cargo.toml"))?.parse()?;
        let of_all = &manifest["workspace"]["package"];
        let text = |key: &str| of_all[key].as_str().map(str::to_owned).context("a text");
        let author = of_all["authors"][0].as_str().context("an author")?;
        let epoch = read(
            Command::new("git")
                .args(["log", "-1", "--format=%ct"])
                .current_dir(root),
        );
        let libc = read(Command::new("dpkg-query").args(["-W", "-f", "${Version}", "libc6"]))?;
        let libc = libc.split(['-', '+']).next().unwrap_or_default();
        let architecture = read(Command::new("dpkg").arg("--print-architecture"))?;
        let control = vec![
            ("Section", "video".to_owned()),
            ("Priority", "optional".to_owned()),
            ("Architecture", architecture.trim().to_owned()),
            (
                "Maintainer",
                format!("{author} <packages@livetrail.invalid>"),
            ),
            ("Homepage", text("repository")?),
            // What it is built with, and so certainly enough.
            ("Depends", format!("libc6 (>= {libc}), libgcc-s1")),
            ("Recommends", "ca-certificates, systemd".to_owned()),
            (
                "Description",
                "live-streaming server whose every session is on verifiable record\n \
                 It takes streams over RTMP, serves them over RTMP and HTTP-FLV, and writes each\n \
                 session to a log with signed checkpoints, which livetrail-verify checks."
                    .to_owned(),
            ),
        ];
        Ok(Self {
            version: text("version")?,
            tree,
            out: out.to_owned(),
            compression: match build {
                Build::Distribution => ["-Zxz", "-z6"],
                Build::Development => ["-Zgzip", "-z1"],
            },
            control,
            epoch: epoch.map_or_else(|_| "0".to_owned(), |epoch| epoch.trim().to_owned()),
        })
    }

    /// Packs the tree as this version.
    pub(super) fn build(&self, version: &str) -> Result<PathBuf> {
        let sizes = read(
            Command::new("du")
                .args(["-sk", "--apparent-size"])
                .arg(&self.tree),
        )?;
        let size = sizes.split_whitespace().next().unwrap_or("0").to_owned();
        let mut control =
            format!("Package: livetrail\nVersion: {version}\nInstalled-Size: {size}\n");
        for (name, value) in &self.control {
            control += &format!("{name}: {value}\n");
        }
        let debian = self.tree.join("DEBIAN");
        let _ = fs::remove_dir_all(&debian);
        write(&debian.join("control"), control.as_bytes())?;
        write(
            &debian.join("conffiles"),
            b"/etc/livetrail/livetrail.toml\n",
        )?;
        let root = crate::workspace::root()?;
        for script in SCRIPTS {
            let from = root.join("packaging/debian").join(script);
            put(&from, &debian.join(script), 0o755)?;
        }
        let sums = read(
            Command::new("sh")
                .args([
                    "-c",
                    "find . -type f ! -path './DEBIAN/*' ! -path './etc/*' -printf '%P\\n' | LC_ALL=C sort | xargs -d '\\n' md5sum",
                ])
                .current_dir(&self.tree),
        )?;
        write(&debian.join("md5sums"), sums.as_bytes())?;
        let architecture = self
            .control
            .iter()
            .find(|(name, _)| *name == "Architecture");
        let Some((_, architecture)) = architecture else {
            bail!("no architecture");
        };
        let deb = self
            .out
            .join(format!("livetrail_{version}_{architecture}.deb"));
        read(
            Command::new("dpkg-deb")
                .arg("--root-owner-group")
                .args(self.compression)
                .arg("--build")
                .arg(&self.tree)
                .arg(&deb)
                .env("SOURCE_DATE_EPOCH", &self.epoch),
        )?;
        Ok(deb)
    }
}

/// Manual pages and completions.
fn generated(tree: &Path, pages: &Path) -> Result<()> {
    for (from, to) in [
        (
            "livetrail.bash",
            "usr/share/bash-completion/completions/livetrail",
        ),
        (
            "livetrail.fish",
            "usr/share/fish/vendor_completions.d/livetrail.fish",
        ),
        ("_livetrail", "usr/share/zsh/vendor-completions/_livetrail"),
    ] {
        put(&pages.join(from), &tree.join(to), 0o644)?;
    }
    let manual = tree.join("usr/share/man/man1");
    for entry in fs::read_dir(pages)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "1") {
            let name = path.file_name().context("a page's name")?;
            let page = manual.join(name);
            put(&path, &page, 0o644)?;
            read(Command::new("gzip").args(["-n", "-9"]).arg(&page))?;
        }
    }
    Ok(())
}

fn put(from: &Path, to: &Path, mode: u32) -> Result<()> {
    let bytes = fs::read(from).with_context(|| format!("reading {}", from.display()))?;
    write(to, &bytes)?;
    Ok(fs::set_permissions(to, fs::Permissions::from_mode(mode))?)
}

fn write(to: &Path, bytes: &[u8]) -> Result<()> {
    let mut made = Vec::new();
    let mut folder = to.parent();
    while let Some(path) = folder.filter(|path| !path.exists()) {
        made.push(path.to_owned());
        folder = path.parent();
    }
    for path in made.iter().rev() {
        fs::create_dir(path)?;
        // Whatever the umask is.
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    }
    fs::write(to, bytes).with_context(|| format!("writing {}", to.display()))?;
    Ok(fs::set_permissions(to, fs::Permissions::from_mode(0o644))?)
}
