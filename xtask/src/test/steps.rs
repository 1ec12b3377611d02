//! The steps of `cargo xtask test`, in the order in which they run: what is cheap and fails often
//! comes first.

use anyhow::{Context as _, Result, ensure};

use super::{Context, Outcome, Scope, deny, packages, platforms, programs};
use crate::workspace::BESIDE;
use crate::{fuzz, package, tidy, workspace};

/// The package whose tests start the server under real clients.
pub(super) const SYSTEM: &str = "system-tests";

/// One check.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Steps that must not have failed for this one to make sense.
    pub(crate) needs: &'static [&'static str],
    /// Whether `--fast` runs it.
    pub(crate) fast: bool,
    pub(crate) run: fn(&mut Context) -> Result<Outcome>,
}

pub(crate) fn all() -> Vec<Step> {
    let step = |name, about, needs, fast, run| Step {
        name,
        about,
        needs,
        fast,
        run,
    };
    vec![
        step("format", "cargo fmt --check", &[], true, format),
        step(
            "tidy",
            "the rules of the house, as in `cargo xtask tidy`",
            &[],
            true,
            tidy_rules,
        ),
        step(
            "packages",
            "what the tests start, and what building them takes",
            &[],
            false,
            packages::provide,
        ),
        step(
            "clippy",
            "lints of all targets, warnings are errors",
            &[],
            true,
            clippy,
        ),
        step(
            "unit",
            "unit and property tests of every crate",
            &[],
            true,
            unit,
        ),
        step(
            "unsafe",
            "the crates with unsafe code under AddressSanitizer",
            &[],
            false,
            sanitized,
        ),
        step(
            "beside",
            "lints of the fuzz targets and the benchmarks",
            &[],
            false,
            beside,
        ),
        step(
            "doc-tests",
            "the examples in the documentation",
            &[],
            false,
            doc_tests,
        ),
        step(
            "docs",
            "the documentation builds without a warning",
            &[],
            false,
            docs,
        ),
        step(
            "registry",
            "each crate can be packed for the registry, with its licence and its page",
            &[],
            false,
            registry,
        ),
        step(
            "platforms",
            "libraries, gateways and verifier compile for the systems in rust-toolchain.toml",
            &[],
            false,
            platforms::check,
        ),
        step(
            "deny",
            "licences, bans, sources and advisories of all dependencies",
            &[],
            false,
            deny::check,
        ),
        step(
            "system",
            "the server under real clients",
            &["packages"],
            false,
            system,
        ),
        step(
            "deb",
            "the Debian package: installed, started under its restrictions, upgraded under a viewer",
            &["packages"],
            false,
            deb,
        ),
    ]
}

fn format(context: &mut Context) -> Result<Outcome> {
    for folder in workspace::ALL {
        // The names of the files are enough: `cargo fmt` fixes them.
        let mut command = context.cargo(&["fmt", "--all", "--", "--check", "--files-with-diff"]);
        command.current_dir(context.root.join(folder));
        context
            .must(command)
            .with_context(|| format!("run `cargo fmt --all` in `{folder}`"))?;
    }
    Ok(Outcome::nothing_to_add())
}

fn tidy_rules(context: &mut Context) -> Result<Outcome> {
    let broken = tidy::check(&context.root)?;
    ensure!(broken.is_empty(), "{}", tidy::told(&broken));
    Ok(Outcome::nothing_to_add())
}

fn clippy(context: &mut Context) -> Result<Outcome> {
    let Some(packages) = packages_of(&context.scope, true) else {
        return Ok(Outcome::no_crate());
    };
    let mut command = context.cargo(&["clippy", "--locked", "--all-targets"]);
    command.args(packages).args(["--", "-D", "warnings"]);
    context.must(command)?;
    if matches!(context.scope, Scope::Whole) {
        // What is not in the default build: only the server is another one.
        let command = context.cargo(&[
            "clippy",
            "--locked",
            "--workspace",
            "--all-targets",
            "--features",
            "livetrail-server/kafka-tls",
            "--",
            "-D",
            "warnings",
        ]);
        context.must(command)?;
    }
    Ok(Outcome::nothing_to_add())
}

/// The arguments of cargo that choose the packages, or `None` when there is no package.
fn packages_of(scope: &Scope, system_tests: bool) -> Option<Vec<String>> {
    let all = || vec!["--workspace".to_owned()];
    let without = || {
        let mut arguments = all();
        arguments.extend(["--exclude".to_owned(), SYSTEM.to_owned()]);
        arguments
    };
    match scope {
        Scope::Whole if system_tests => Some(all()),
        Scope::Whole | Scope::Fast => Some(without()),
        Scope::Crates(names) => {
            let names = names.iter().filter(|name| system_tests || *name != SYSTEM);
            let arguments: Vec<_> = names
                .flat_map(|name| ["--package".to_owned(), name.clone()])
                .collect();
            (!arguments.is_empty()).then_some(arguments)
        }
    }
}

fn beside(context: &mut Context) -> Result<Outcome> {
    for folder in BESIDE {
        // Without `--locked`: their lock files follow the dependencies of our crates, whose changes
        // must not fail here.
        let mut command = context.cargo(&["clippy", "--all-targets"]);
        // Into the same folder as the rest: most dependencies are there already.
        command
            .arg("--target-dir")
            .arg(workspace::target(&context.root));
        command
            .args(["--", "-D", "warnings"])
            .current_dir(context.root.join(folder));
        context.must(command)?;
    }
    Ok(Outcome::nothing_to_add())
}

fn unit(context: &mut Context) -> Result<Outcome> {
    // With the system tests, whose programs run later: so their dependencies, those of the examples
    // in the documentation and ours have the same features, and are built once.
    let system_tests = matches!(context.scope, Scope::Whole);
    let Some(mut arguments) = packages_of(&context.scope, system_tests) else {
        return Ok(Outcome::no_crate());
    };
    arguments.push("--all-targets".to_owned());
    arguments.extend(sources_of(&arguments));
    let mut programs = programs::build(context, &arguments)?;
    programs.retain(|program| !program.is_system_test());
    let rank =
        |program: &programs::Program| LONGEST.iter().position(|name| *name == program.package);
    programs.sort_by_key(|program| rank(program).unwrap_or(LONGEST.len()));
    run_programs(context, &programs, AT_ONCE)
}

/// The features of the verifier, if its tests are among these packages: its default build has no
/// buckets. With the system tests it has them anyway, so that nothing is compiled again.
fn sources_of(packages: &[String]) -> Vec<String> {
    let is_in = |name: &str| packages.iter().any(|package| package == name);
    let features = ["--features", "livetrail-verify/s3"].map(str::to_owned);
    let has_verifier = is_in("--workspace") || is_in("livetrail-verify");
    features.into_iter().filter(|_| has_verifier).collect()
}

/// The packages whose tests take the longest. They start first, so that none of them runs alone at
/// the end.
const LONGEST: &[&str] = &[
    "livetrail-ledger",
    "livetrail-index",
    "livetrail-verify",
    "livetrail-tlog",
    "livetrail-vault",
    "livetrail-trail",
    "livetrail-audit",
];

/// How many programs of unit tests run at a time. Each of them runs as many tests as there are
/// cores, so that no core is idle while the last test of a program runs.
const AT_ONCE: usize = 2;

fn sanitized(context: &mut Context) -> Result<Outcome> {
    let mut command = context.cargo(&["test", "--locked", "--lib"]);
    for name in tidy::UNSAFE {
        command.args(["--package", name]);
    }
    // Naming the host as the target keeps the flag away from build scripts and macros; a folder of
    // its own keeps the rest warm.
    command.arg("--target").arg(fuzz::host()?);
    command
        .arg("--target-dir")
        .arg(workspace::target(&context.root).join("asan"));
    // Sanitizers are not stabilised; this lets the one toolchain that there is have them.
    command
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", "-Zsanitizer=address");
    tests(context, command)
}

fn doc_tests(context: &mut Context) -> Result<Outcome> {
    let command = context.cargo(&["test", "--locked", "--workspace", "--doc", "--no-fail-fast"]);
    tests(context, command)
}

fn docs(context: &mut Context) -> Result<Outcome> {
    let mut command = context.cargo(&["doc", "--locked", "--workspace", "--no-deps"]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    context.must(command)?;
    Ok(Outcome::nothing_to_add())
}

/// Packs each library and the server. What is packed is not compiled again.
fn registry(context: &mut Context) -> Result<Outcome> {
    let mut command = context.cargo(&["package", "--locked", "--workspace"]);
    command.args(["--exclude", "xtask", "--exclude", SYSTEM]);
    command.args(["--no-verify", "--allow-dirty"]);
    context.must(command)?;
    Ok(Outcome::nothing_to_add())
}

/// The disk with the tests' data may be this full, in percent. At 90 % the servers under test stop
/// recording refusals, and the tests add to what is there.
const FULLEST: u8 = 86;

/// Refuses to start where dozens of tests would fail for want of space on the disk.
fn check_room() -> Result<()> {
    let folder = std::env::temp_dir();
    let df = std::process::Command::new("df")
        .arg("--output=pcent")
        .arg(&folder)
        .output()
        .context("cannot run df")?;
    let text = String::from_utf8_lossy(&df.stdout);
    let used = text.split_whitespace().nth(1);
    let used: u8 = used
        .and_then(|used| used.trim_end_matches('%').parse().ok())
        .with_context(|| format!("df says nothing of {}: {text}", folder.display()))?;
    ensure!(
        used <= FULLEST,
        "the disk of {} is {used} % full, and the servers under test stop recording refusals at 90 %: free space \
         until {FULLEST} % are used, or set TMPDIR to a folder on another disk",
        folder.display()
    );
    Ok(())
}

fn system(context: &mut Context) -> Result<Outcome> {
    check_room()?;
    // The tests start the server and the verifier as separate processes; cargo builds no other
    // package's binary for them. With every sink and source, as `binary.rs` there builds them.
    let command = context.cargo(&[
        "build",
        "--locked",
        "--package",
        "livetrail-server",
        "--features",
        "kafka-tls",
    ]);
    context.must(command)?;
    let command = context.cargo(&[
        "build",
        "--locked",
        "--package",
        "livetrail-verify",
        "--bin",
        "livetrail-verify",
        "--features",
        "postgres,s3",
    ]);
    context.must(command)?;
    // As `unit` builds them, so that nothing is compiled again.
    let mut arguments = vec!["--workspace".to_owned()];
    let folder = context.root.join(SYSTEM).join("tests");
    let entries = std::fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    for entry in entries {
        let path = entry.with_context(|| folder.display().to_string())?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        arguments.extend(["--test".to_owned(), name.into_owned()]);
    }
    let mut programs = programs::build(context, &arguments)?;
    programs.retain(programs::Program::is_system_test);
    for program in &mut programs {
        if program.target == SINKS {
            program.tests_at_once = Some(SINKS_PER_CORE * cores());
        }
    }
    // One after the other: some of them measure time, or the processor time of a server.
    run_programs(context, &programs, 1)
}

/// The tests of sinks. They wait for their servers most of the time: a test with a broker takes 3
/// seconds of processor time and half a minute.
const SINKS: &str = "test sinks";

/// How many of them run at a time for each core.
const SINKS_PER_CORE: usize = 2;

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Runs test programs; that no test ran at all is a failure too.
fn run_programs(
    context: &mut Context,
    programs: &[programs::Program],
    at_once: usize,
) -> Result<Outcome> {
    programs::run(context, programs, at_once)?;
    counted(context)
}

fn deb(context: &mut Context) -> Result<Outcome> {
    let root = context.root.clone();
    let context = std::cell::RefCell::new(context);
    let run = |command| context.borrow_mut().must(command);
    let made = package::make(&root, package::Build::Development, run)?;
    package::check::check(&made, run)?;
    Ok(Outcome::nothing_to_add())
}

/// Runs tests; that none ran at all is a failure too.
fn tests(context: &mut Context, command: std::process::Command) -> Result<Outcome> {
    context.must(command)?;
    counted(context)
}

fn counted(context: &Context) -> Result<Outcome> {
    ensure!(
        context.counts.total() > 0,
        "no test ran: is the runner's closing line still `test result: …`?"
    );
    Ok(Outcome::Tests(context.counts))
}

impl Outcome {
    pub(super) fn nothing_to_add() -> Self {
        Self::Passed(String::new())
    }

    fn no_crate() -> Self {
        Self::Passed("no crate has changed".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fast_run_leaves_out_what_needs_librdkafka() {
        let fast = packages_of(&Scope::Fast, true);
        assert_eq!(fast.unwrap(), ["--workspace", "--exclude", SYSTEM]);
        assert_eq!(packages_of(&Scope::Whole, true).unwrap(), ["--workspace"]);
    }

    #[test]
    fn the_tests_of_the_verifier_run_with_buckets() {
        for scope in [Scope::Whole, Scope::Fast] {
            let packages = packages_of(&scope, false).unwrap();
            assert_eq!(sources_of(&packages), ["--features", "livetrail-verify/s3"]);
        }
        let one = |name: &str| packages_of(&Scope::Crates(vec![name.to_owned()]), false).unwrap();
        assert_eq!(sources_of(&one("livetrail-verify")).len(), 2);
        assert!(sources_of(&one("livetrail-tlog")).is_empty());
    }

    #[test]
    fn a_run_of_changed_crates_names_them_and_runs_no_system_test() {
        let crates = Scope::Crates(vec!["a".to_owned(), SYSTEM.to_owned()]);
        let linted = packages_of(&crates, true).unwrap();
        assert_eq!(linted, ["--package", "a", "--package", SYSTEM]);
        assert_eq!(packages_of(&crates, false).unwrap(), ["--package", "a"]);
        assert_eq!(
            packages_of(&Scope::Crates(vec![SYSTEM.to_owned()]), false),
            None
        );
    }
}
