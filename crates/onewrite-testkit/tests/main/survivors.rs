//! No server outlives the process that started it.

use std::path::PathBuf;
use std::process::Command;

use onewrite_testkit::servers::Postgres;
use onewrite_testkit::wait::until;

const AS_CHILD: &str = "ONEWRITE_TESTKIT_KILL_ME_WITH_A_SERVER";

#[tokio::test]
async fn a_killed_test_process_leaves_nothing_behind() {
    if std::env::var_os(AS_CHILD).is_some() {
        let server = Postgres::start(16, &[]).await;
        println!("data directory: {}", server.data_directory().display());
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).expect("kill oneself");
    }
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args([
            "--exact",
            "survivors::a_killed_test_process_leaves_nothing_behind",
            "--nocapture",
        ])
        .env(AS_CHILD, "1")
        .output()
        .expect("run this test once more");
    let printed = String::from_utf8_lossy(&output.stdout);
    let (_, directory) = printed
        .split_once("data directory: ")
        .expect("the child got to start a server");
    gone(&PathBuf::from(directory.lines().next().expect("a line"))).await;
}

#[tokio::test]
async fn a_dropped_server_leaves_nothing_behind() {
    let server = Postgres::start(16, &[]).await;
    let directory = server.data_directory();
    server.pause();
    drop(server);
    assert!(!directory.exists(), "{} is left", directory.display());
    gone(&directory).await;
}

/// Waits until the directory is away, and no process works in it.
async fn gone(directory: &std::path::Path) {
    let gone = async || (!directory.exists() && !works_in(directory)).then_some(());
    until("the end of the server and its directory", gone).await;
}

fn works_in(directory: &std::path::Path) -> bool {
    let directory = directory.to_string_lossy();
    let processes = std::fs::read_dir("/proc").expect("list processes");
    processes
        .filter_map(|process| std::fs::read_link(process.ok()?.path().join("cwd")).ok())
        .any(|place| place.to_string_lossy().starts_with(&*directory))
}
