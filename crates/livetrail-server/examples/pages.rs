//! Writes the manual pages and the shell completions of `livetrail`, from its help, into a folder.
//!
//! ```console
//! $ cargo run -p livetrail-server --example pages -- FOLDER
//! ```

use std::{env, error::Error, fs, path::Path};

use clap_complete::{Shell, generate_to};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = env::args_os().nth(1).ok_or("a folder is needed")?;
    let folder = Path::new(&folder);
    fs::create_dir_all(folder)?;
    let command = livetrail_server::command();
    clap_mangen::generate_to(command.clone(), folder)?;
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        generate_to(shell, &mut command.clone(), "livetrail", folder)?;
    }
    Ok(())
}
