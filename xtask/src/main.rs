//! `./x` calls this program for what is more than a few lines of shell.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["tidy"] => tidy(),
        ["sbom", target] => sbom(target),
        _ => {
            eprintln!("xtask knows the chores `tidy` and `sbom TARGET`, not {arguments:?}");
            ExitCode::from(2)
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace holds this crate")
}

fn tidy() -> ExitCode {
    let findings = xtask::tidy::check(root());
    for finding in &findings {
        println!("{finding}");
    }
    if findings.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn sbom(target: &str) -> ExitCode {
    match xtask::sbom::write(root(), target) {
        Ok(path) => {
            println!("{}", path.display());
            ExitCode::SUCCESS
        }
        Err(words) => {
            eprintln!("no bill of materials can be made: {words}");
            ExitCode::FAILURE
        }
    }
}
