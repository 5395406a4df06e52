//! Reads what an operator names: a file, or a pipe such as `/dev/stdin` and what a shell makes of
//! `<(command)`. A pipe to which nobody writes must not hold a command for ever.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Read},
    os::{fd::AsFd as _, unix::fs::OpenOptionsExt as _},
    path::Path,
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long a pipe may be silent.
const PATIENCE: Duration = Duration::from_secs(10);

/// The content of a file or a pipe, up to this number of bytes.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    read_within(path, most, PATIENCE)
}

fn read_within(path: &Path, most: u64, patience: Duration) -> io::Result<Vec<u8>> {
    let mut options = File::options();
    // The open of a pipe waits for a writer otherwise.
    let file = options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    let mut bytes = Vec::new();
    if file.is_terminal() {
        // Somebody types it.
        File::open(path)?.take(most).read_to_end(&mut bytes)?;
    } else {
        Patient { file, patience }.take(most).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// What comes on stdin, up to this number of bytes.
pub fn read_stdin(most: u64) -> io::Result<Vec<u8>> {
    let file = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut bytes = Vec::new();
    Patient { file, patience: PATIENCE }.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A pipe that is given up when it is silent. A file is always ready.
struct Patient {
    file: File,
    patience: Duration,
}

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let time = Timespec::try_from(self.patience).map_err(io::Error::other)?;
        if poll(&mut [PollFd::new(&self.file, PollFlags::IN)], Some(&time))? == 0 {
            let seconds = self.patience.as_secs();
            let text = format!("is a pipe to which nobody has written for {seconds} s");
            return Err(io::Error::other(text));
        }
        self.file.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, thread};

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn a_pipe_is_read_to_its_end_and_not_waited_for_in_vain() {
        let directory = std::env::temp_dir().join(format!("netagent-input-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let (pipe, file) = (directory.join("pipe"), directory.join("file"));
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        fs::write(&file, "text").unwrap();
        let read = |path: &Path| read_within(path, 1 << 20, Duration::from_millis(300));
        assert_eq!(read(&file).unwrap(), b"text");
        assert_eq!(read_within(&file, 2, PATIENCE).unwrap(), b"te");
        assert_eq!(read_within(Path::new("/dev/zero"), 3, PATIENCE).unwrap(), [0; 3]);
        read(&directory).unwrap_err();
        let silent = read(&pipe).unwrap_err().to_string();
        assert!(silent.contains("nobody has written"), "{silent}");
        // A writer that opens it later, and writes more than the pipe holds.
        let long = vec![b'x'; 200_000];
        let writer = thread::spawn({
            let (pipe, long) = (pipe.clone(), long.clone());
            move || fs::write(pipe, long)
        });
        assert_eq!(read_within(&pipe, 1 << 20, PATIENCE).unwrap(), long);
        writer.join().unwrap().unwrap();
        fs::remove_dir_all(&directory).unwrap();
    }
}
