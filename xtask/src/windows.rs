//! `cargo xtask windows`: the verifier's Windows program, built with Debian's mingw, under Wine. It
//! must give the same answers as the Linux program, about a sound trail and about changed ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::clock::{Stopwatch, human};
use crate::process::{pass_through, say, typed};
use crate::test::packages::{Probe, install};
use crate::{toolchain, workspace};

const TARGET: &str = "x86_64-pc-windows-gnu";
const COMPILER: &str = "x86_64-w64-mingw32-gcc";

/// What is needed, and the Debian package that has it.
const NEEDED: &[(Probe, &str)] = &[
    (Probe::Program(COMPILER), "gcc-mingw-w64-x86-64"),
    (Probe::Program("wine"), "wine"),
    (Probe::Folder(WINE), "wine64"),
];

/// A function of Windows that Rust's standard library takes its random numbers from. The Wine of
/// Debian 12 has no library with it. Where Wine has it, ours is not used.
const RANDOM: &str = "\
#include <windows.h>
BOOLEAN NTAPI SystemFunction036(PVOID data, ULONG length);
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T length) {
    while (length > 0) {
        ULONG part = length > 65536 ? 65536 : (ULONG)length;
        if (!SystemFunction036(data, part)) return FALSE;
        data += part;
        length -= part;
    }
    return TRUE;
}
";
const RANDOM_LIBRARY: &str = "bcryptprimitives.dll";

/// Wine's libraries on Debian.
const WINE: &str = "/usr/lib/x86_64-linux-gnu/wine";

/// Entries of the trail: full bundles and a partial one. [`OLDER`] of them have an older
/// checkpoint.
const ENTRIES: u32 = 2_530;
const OLDER: u32 = 1_300;

/// The verifier's arguments in each case. The time is fixed, so that both programs report the same
/// age of the trail.
const ARGUMENTS: &[&str] = &[
    "trail",
    "--vkey",
    "trail.keys/trail.vkey",
    "--as-of",
    "2100-01-01",
    "--json",
];

/// A copy of the trail with a change, and the answer about it.
struct Case {
    name: &'static str,
    change: fn(&Path) -> Result<()>,
    more: &'static [&'static str],
    verdict: &'static str,
    exit_code: i32,
}

const CASES: &[Case] = &[
    Case {
        name: "sound",
        change: |_| Ok(()),
        more: &[],
        verdict: "sound",
        exit_code: 0,
    },
    Case {
        name: "sound, with an older checkpoint",
        change: |_| Ok(()),
        more: &["--against", "older.checkpoint"],
        verdict: "sound",
        exit_code: 0,
    },
    Case {
        name: "an entry changed",
        change: |case| flip(&case.join("trail/tile/entries/003"), 1_000),
        more: &[],
        verdict: "not_sound",
        exit_code: 1,
    },
    Case {
        name: "a hash changed",
        change: |case| flip(&case.join("trail/tile/0/001"), 100),
        more: &[],
        verdict: "not_sound",
        exit_code: 1,
    },
    Case {
        name: "entries removed",
        change: |case| Ok(fs::remove_file(case.join("trail/tile/entries/004"))?),
        more: &[],
        verdict: "not_sound",
        exit_code: 1,
    },
    Case {
        name: "a signature changed",
        change: |case| {
            let path = case.join("trail/checkpoint");
            let middle = fs::metadata(&path)?.len() / 2;
            flip(&path, usize::try_from(middle)?)
        },
        more: &[],
        verdict: "not_sound",
        exit_code: 1,
    },
    Case {
        name: "the end removed",
        change: |case| {
            let [newest, older] = ["newest.checkpoint", "older.checkpoint"].map(|n| case.join(n));
            fs::copy(case.join("trail/checkpoint"), newest)?;
            fs::copy(older, case.join("trail/checkpoint"))?;
            Ok(())
        },
        more: &["--against", "newest.checkpoint"],
        verdict: "not_sound",
        exit_code: 1,
    },
    Case {
        name: "no trail",
        change: |case| Ok(fs::remove_dir_all(case.join("trail"))?),
        more: &[],
        verdict: "could_not_check",
        exit_code: 2,
    },
];

/// The programs, and the folder for the trails.
struct Bench {
    root: PathBuf,
    target: PathBuf,
    folder: PathBuf,
}

/// What a program answered.
struct Answer {
    exit_code: Option<i32>,
    report: serde_json::Value,
}

/// Builds, runs and compares. Returns `false` when an answer is wrong.
pub(crate) fn run() -> Result<bool> {
    let watch = Stopwatch::start();
    install(NEEDED, |mut command| must(&mut command))?;
    let missing = toolchain::missing(&[TARGET.to_owned()]);
    ensure!(
        missing.is_empty(),
        "not installed: `rustup target add {TARGET}`"
    );
    let root = workspace::root()?;
    let target = workspace::target(&root);
    let folder = target.join("windows");
    let bench = Bench {
        root,
        target,
        folder,
    };
    bench.build()?;
    bench.write_trail()?;
    let mut held = true;
    for case in CASES {
        held &= bench.compare(case)?;
    }
    let outcome = if held { "held" } else { "FAILED" };
    say(&format!("windows: {outcome} · {}", human(watch.elapsed())));
    Ok(held)
}

impl Bench {
    fn build(&self) -> Result<()> {
        for arguments in [
            &["--package=system-tests", "--bin=trail-writer"][..],
            &["--package=livetrail-verify", "--bin=livetrail-verify"],
            // The command alone, which needs no C compiler; mingw's links it.
            &[
                "--package=livetrail-verify",
                "--bin=livetrail-verify",
                "--no-default-features",
                "--features=cli",
                "--target",
                TARGET,
            ],
        ] {
            let mut command =
                Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            command.args(["build", "--locked"]).args(arguments);
            must(command.current_dir(&self.root))?;
        }
        // Left by an earlier run.
        for folder in ["trails", "programs"] {
            let _ = fs::remove_dir_all(self.folder.join(folder));
        }
        let programs = self.folder.join("programs");
        fs::create_dir_all(&programs).context("a folder for the programs")?;
        let built = self.target.join(TARGET).join("debug/livetrail-verify.exe");
        fs::copy(&built, programs.join("livetrail-verify.exe"))
            .with_context(|| format!("cannot copy {}", built.display()))?;
        let wine = Path::new(WINE).join("x86_64-windows");
        if wine.join(RANDOM_LIBRARY).exists() {
            return Ok(());
        }
        fs::write(programs.join("random.c"), RANDOM)?;
        let mut command = Command::new(COMPILER);
        command.args(["-shared", "-o", RANDOM_LIBRARY, "random.c", "-ladvapi32"]);
        must(command.current_dir(&programs))
    }

    /// Writes the trail whose copies are changed, and keeps an older checkpoint of it.
    fn write_trail(&self) -> Result<()> {
        let original = self.original();
        fs::create_dir_all(&original).context("a folder for the trail")?;
        for entries in [OLDER, ENTRIES] {
            let mut command = Command::new(self.target.join("debug/trail-writer"));
            command.args(["trail", &entries.to_string()]);
            command.current_dir(&original).stdout(Stdio::null());
            let written = command.status()?.success();
            ensure!(written, "`{}` failed", typed(&command));
            if entries == OLDER {
                fs::copy(
                    original.join("trail/checkpoint"),
                    original.join("older.checkpoint"),
                )?;
            }
        }
        Ok(())
    }

    fn original(&self) -> PathBuf {
        self.folder.join("trails/original")
    }

    /// Lets both programs answer, and compares each word of their reports.
    fn compare(&self, case: &Case) -> Result<bool> {
        let folder = self
            .folder
            .join("trails")
            .join(case.name.replace([' ', ','], "-"));
        let mut command = Command::new("cp");
        must(command.arg("-r").arg(self.original()).arg(&folder))?;
        (case.change)(&folder).with_context(|| format!("changing the trail: {}", case.name))?;

        let linux = Command::new(self.target.join("debug/livetrail-verify"));
        let linux = answer(linux, &folder, case)?;
        let mut wine = Command::new("wine");
        wine.arg(self.folder.join("programs/livetrail-verify.exe"))
            .env("WINEPREFIX", self.folder.join("wine"))
            // Wine's own messages.
            .env("WINEDEBUG", "-all");
        let windows = answer(wine, &folder, case)?;

        // Each system has its own words for a file that is not there.
        let same_report = linux.report == windows.report || case.exit_code == 2;
        let expected = |answer: &Answer| {
            answer.exit_code == Some(case.exit_code) && answer.report["verdict"] == case.verdict
        };
        let held = same_report && expected(&linux) && expected(&windows);
        let word = if held { "ok" } else { "FAILED" };
        say(&format!("{:<32} {word:<8} {}", case.name, case.verdict));
        if !held {
            for (system, answer) in [("Linux", linux), ("Windows", windows)] {
                let code = answer.exit_code;
                say(&format!(
                    "{system}: exit code {code:?}: {:#}",
                    answer.report
                ));
            }
        }
        Ok(held)
    }
}

/// Runs a verifier in a case's folder.
fn answer(mut command: Command, folder: &Path, case: &Case) -> Result<Answer> {
    command.args(ARGUMENTS).args(case.more).current_dir(folder);
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot start `{}`", typed(&command)))?;
    let report = serde_json::from_slice(&output.stdout).with_context(|| {
        let said = String::from_utf8_lossy(&output.stderr);
        format!(
            "`{}` ({}) printed no report: {said}",
            typed(&command),
            output.status
        )
    })?;
    Ok(Answer {
        exit_code: output.status.code(),
        report,
    })
}

/// Changes one bit of a file.
fn flip(path: &Path, at: usize) -> Result<()> {
    let mut bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let byte = bytes.get_mut(at).context("the file is too short")?;
    *byte ^= 1;
    Ok(fs::write(path, bytes)?)
}

fn must(command: &mut Command) -> Result<()> {
    let done = pass_through(command)?.success();
    ensure!(done, "`{}` failed", typed(command));
    Ok(())
}
