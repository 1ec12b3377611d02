//! `cargo xtask package`: the Debian package, its bill of materials and its checksums.

pub(crate) mod check;
mod deb;
mod sbom;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::clock::{Stopwatch, human};
use crate::process::{pass_through, read, say, typed};
use crate::workspace;
use deb::Deb;

/// The programs of the package: crate, program, features. The features of a development build are
/// those of the system tests, whose programs it takes.
const PROGRAMS: [Program; 2] = [
    Program {
        package: "livetrail-server",
        name: "livetrail",
        features: "default",
        in_development: "kafka-tls",
    },
    Program {
        package: "livetrail-verify",
        name: "livetrail-verify",
        features: "postgres,s3",
        in_development: "postgres,s3",
    },
];

struct Program {
    package: &'static str,
    name: &'static str,
    features: &'static str,
    in_development: &'static str,
}

impl Program {
    fn features(&self, build: Build) -> [&'static str; 2] {
        match build {
            Build::Distribution => ["--features", self.features],
            Build::Development => ["--features", self.in_development],
        }
    }
}

/// The most bytes that the server's program may have.
const MOST_BYTES: u64 = 25 * 1024 * 1024;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Install the package in a folder, start the server from there under the unit's restrictions,
    /// and upgrade it while it serves
    #[arg(long)]
    check: bool,
    /// Pack the development build: quick to make, and large
    #[arg(long)]
    dev: bool,
}

/// Where the programs come from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Build {
    /// Optimised, without symbols, with paths that do not depend on this machine.
    Distribution,
    /// The development build.
    Development,
}

/// A package, and what it was made of.
pub(crate) struct Package {
    pub(crate) deb: PathBuf,
    tree: Deb,
}

pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    let root = workspace::root()?;
    let build = match arguments.dev {
        true => Build::Development,
        false => Build::Distribution,
    };
    let watch = Stopwatch::start();
    let run = |mut command: Command| {
        let status = pass_through(&mut command)?;
        ensure!(status.success(), "`{}` failed ({status})", typed(&command));
        Ok(())
    };
    let package = make(&root, build, run)?;
    let folder = package.deb.parent().context("a folder")?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            let size = entry.metadata()?.len();
            say(&format!("{:>11}  {}", size, entry.path().display()));
        }
    }
    if arguments.check {
        check::check(&package, run)?;
        say("installed, started, upgraded under viewers and removed");
    }
    say(&format!("took {}", human(watch.elapsed())));
    Ok(true)
}

/// Builds the programs and packs them. `run` starts the commands that take long.
pub(crate) fn make(
    root: &Path,
    build: Build,
    run: impl Fn(Command) -> Result<()>,
) -> Result<Package> {
    let target = workspace::target(root);
    let programs = compile(root, build, &run)?;
    let out = target.join("package");
    let pages = out.join("pages");
    // Files of an earlier run would be packed, too.
    let _ = fs::remove_dir_all(&out);
    fs::create_dir_all(&pages)?;
    let mut command = cargo(root);
    command.args([
        "run",
        "--locked",
        "--quiet",
        "--package",
        "livetrail-server",
    ]);
    command.args(["--example", "pages", "--"]).arg(&pages);
    run(command)?;
    let metadata = sbom::metadata(root)?;
    let sbom = sbom::of(&metadata, &fs::read_to_string(root.join("Cargo.lock"))?)?;
    fs::write(out.join("livetrail.cdx.json"), &sbom)?;
    let tree = Deb::stage(root, &out, build, &programs, &pages, &sbom)?;
    let version = tree.version.clone();
    let deb = tree.build(&version)?;
    fs::remove_dir_all(&pages)?;
    checksums(&out)?;
    if build == Build::Distribution {
        for program in &programs {
            let size = fs::metadata(program)?.len();
            say(&format!("{size:>11}  {}", program.display()));
            ensure!(
                size <= MOST_BYTES,
                "{} has {size} bytes; at most {MOST_BYTES} are allowed",
                program.display()
            );
        }
    }
    Ok(Package { deb, tree })
}

impl Package {
    /// The same files as another version.
    fn next(&self) -> Result<PathBuf> {
        self.tree.build(&format!("{}+next", self.tree.version))
    }
}

fn cargo(root: &Path) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(root);
    command
}

/// Builds the programs, and returns their files.
fn compile(
    root: &Path,
    build: Build,
    run: &impl Fn(Command) -> Result<()>,
) -> Result<Vec<PathBuf>> {
    let target = workspace::target(root);
    let mut files = Vec::new();
    for program in &PROGRAMS {
        let mut command = cargo(root);
        command.args(["build", "--locked", "--package", program.package]);
        command.args(["--bin", program.name]);
        command.args(program.features(build));
        let folder = match build {
            Build::Development => target.join("debug"),
            Build::Distribution => {
                // A folder of its own: other flags would otherwise make everything else cold.
                let folder = target.join("dist-build");
                command.args(["--profile", "dist", "--target-dir"]);
                command.arg(&folder);
                command
                    .env("CARGO_INCREMENTAL", "0")
                    .env("CARGO_PROFILE_DIST_DEBUG", "none")
                    .env("CARGO_PROFILE_DIST_STRIP", "symbols")
                    .env("RUSTFLAGS", remapped(root)?);
                folder.join("dist")
            }
        };
        run(command)?;
        files.push(folder.join(program.name));
    }
    Ok(files)
}

/// Flags that replace the paths of this machine, which are in messages of panics.
fn remapped(root: &Path) -> Result<String> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".cargo")));
    let sysroot = read(Command::new("rustc").args(["--print", "sysroot"]))?;
    let mut flags = vec![format!("--remap-path-prefix={}=/livetrail", root.display())];
    if let Some(home) = home {
        flags.push(format!("--remap-path-prefix={}=/cargo", home.display()));
    }
    flags.push(format!("--remap-path-prefix={}=/rust", sysroot.trim()));
    Ok(flags.join(" "))
}

/// Writes `SHA256SUMS` with the files of a folder.
fn checksums(folder: &Path) -> Result<()> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            names.push(entry.file_name());
        }
    }
    names.sort();
    let sums = read(Command::new("sha256sum").args(&names).current_dir(folder))?;
    fs::write(folder.join("SHA256SUMS"), sums).context("SHA256SUMS")
}
