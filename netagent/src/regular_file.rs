//! Opens regular files only: the open of a pipe waits for its other end, and a device may have no
//! end. Whoever can put one in the place of a file must not stop the agent.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

/// Opens a file; `options` say for what.
pub fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let file = options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("is not a regular file"))
    }
}

/// Opens a file to read it.
pub fn open_to_read(path: &Path) -> io::Result<File> {
    open(path, File::options().read(true))
}

/// The content of a file.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_to_read(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::fs::{FileType, Mode};

    use super::*;

    #[test]
    fn a_pipe_is_refused_and_not_waited_for() {
        let directory =
            std::env::temp_dir().join(format!("netagent-regular-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let pipe = directory.join("pipe");
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, mode, 0).unwrap();
        let refused = |path: &Path| open_to_read(path).unwrap_err().to_string();
        assert_eq!(refused(&pipe), "is not a regular file");
        assert_eq!(refused(Path::new("/dev/zero")), "is not a regular file");
        assert_eq!(refused(&directory), "is not a regular file");
        open(&pipe, File::options().read(true).append(true)).unwrap_err();
        fs::write(directory.join("file"), "text").unwrap();
        assert_eq!(read(&directory.join("file")).unwrap(), b"text");
        fs::remove_dir_all(&directory).unwrap();
    }
}
