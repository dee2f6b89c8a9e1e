//! Cutting the connections of a process that this one started, whatever they speak and wherever they go.

/// Shuts down every connection that a child holds, and returns how many they were.
///
/// Linux lets a parent take a copy of a child's file descriptor (`pidfd_getfd`, Linux 5.6), and shutting a copy down shuts down the
/// connection itself. No proxy could do it for encrypted connections, or for brokers that tell clients their own addresses.
///
/// # Errors
/// Where the system does not allow that, as in many containers.
#[cfg(target_os = "linux")]
pub fn connections(pid: u32) -> std::io::Result<u64> {
    use std::net::{Shutdown, TcpStream};
    use std::os::unix::net::UnixStream;

    use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

    let process = Pid::from_raw(pid.cast_signed()).ok_or(std::io::ErrorKind::NotFound)?;
    let process = pidfd_open(process, PidfdFlags::empty())?;
    let mut cut = 0;
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd"))? {
        let entry = entry?;
        let is_socket =
            std::fs::read_link(entry.path()).is_ok_and(|target| target.to_string_lossy().starts_with("socket:"));
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let (true, Some(number)) = (is_socket, number) else {
            continue;
        };
        let copy = match pidfd_getfd(&process, number, PidfdGetfdFlags::empty()) {
            Ok(copy) => copy,
            // It was closed meanwhile.
            Err(rustix::io::Errno::BADF) => continue,
            Err(error) => return Err(error.into()),
        };
        // Only what is connected to somewhere else: a process also has pairs of sockets for itself, which have no name.
        let stream = TcpStream::from(copy.try_clone()?);
        let stopped = match stream.peer_addr() {
            Ok(_) => stream.shutdown(Shutdown::Both),
            Err(_) => {
                let stream = UnixStream::from(copy);
                match stream.peer_addr() {
                    Ok(address) if address.as_pathname().is_some() => stream.shutdown(Shutdown::Both),
                    _ => continue,
                }
            }
        };
        cut += u64::from(stopped.is_ok());
    }
    Ok(cut)
}

/// Only Linux lets a parent do that.
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn connections(_: u32) -> std::io::Result<u64> {
    Err(std::io::Error::new(
        std::io::ErrorKind::Unsupported,
        "this system does not let a parent cut a child's connections",
    ))
}
