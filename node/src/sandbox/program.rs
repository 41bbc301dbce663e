//! The program that a sandbox runs: it only waits. Made here, byte by byte, so that a machine needs
//! neither a registry nor a compiler for it, and so small that a sandbox costs no memory of its own.
//!
//! It handles no signal. As the first process of its namespace it therefore gets none but SIGKILL,
//! which is what sandboxes are stopped with, and it has no children to wait for.

use std::io;

/// Where the program is in its image, and its only argument.
pub(crate) const PATH: &str = "/wait";
/// Name and version of the image. The version goes up with every change of what is in it.
pub(crate) const IMAGE: (&str, &str) = ("fairway-sandbox", "1");

/// Where the program is loaded: any address that is a multiple of the largest page will do.
const BASE: u64 = 0x40_0000;
/// The largest page of the machines below.
const PAGE: u64 = 0x1_0000;
const FILE_HEADER_BYTES: u16 = 64;
const SEGMENT_HEADER_BYTES: u16 = 56;
/// Before the code: one header for the file and one for its only segment.
const CODE_AT: u64 = 64 + 56;

/// `pause()` for ever.
const X86_64: &[u8] = &[
    0xb8, 0x22, 0x00, 0x00, 0x00, // again: mov eax, 34 (pause)
    0x0f, 0x05, //                          syscall
    0xeb, 0xf7, //                          jmp again
];
/// `ppoll(NULL, 0, NULL, NULL)` for ever; this machine knows no `pause`.
const AARCH64: &[u8] = &[
    0x00, 0x00, 0x80, 0xd2, // again: mov x0, #0
    0x01, 0x00, 0x80, 0xd2, //        mov x1, #0
    0x02, 0x00, 0x80, 0xd2, //        mov x2, #0
    0x03, 0x00, 0x80, 0xd2, //        mov x3, #0
    0x28, 0x09, 0x80, 0xd2, //        mov x8, #73 (ppoll)
    0x01, 0x00, 0x00, 0xd4, //        svc #0
    0xfa, 0xff, 0xff, 0x17, //        b again
];

/// The image's only layer; `None` on machines whose program nobody has written.
pub(crate) fn layer(architecture: &str) -> Option<io::Result<Vec<u8>>> {
    // The number is what the ELF format calls the machine.
    let program = match architecture {
        "x86_64" => program(62, X86_64),
        "aarch64" => program(183, AARCH64),
        _ => return None,
    };
    Some(pack(&program))
}

fn pack(program: &[u8]) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(u64::try_from(program.len()).map_err(io::Error::other)?);
    header.set_mode(0o555);
    archive.append_data(&mut header, PATH.trim_start_matches('/'), program)?;
    archive.into_inner()
}

/// The code as an executable file (elf(5)).
fn program(machine: u16, code: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    // 64 bits, the lower byte first, version 1, no particular operating system.
    file.extend([0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    file.extend(2_u16.to_le_bytes()); // an executable
    file.extend(machine.to_le_bytes());
    file.extend(1_u32.to_le_bytes()); // version
    file.extend((BASE + CODE_AT).to_le_bytes()); // where it begins
    file.extend(u64::from(FILE_HEADER_BYTES).to_le_bytes()); // where the segments are
    file.extend(0_u64.to_le_bytes()); // no sections
    file.extend(0_u32.to_le_bytes()); // no flags
    file.extend(FILE_HEADER_BYTES.to_le_bytes());
    file.extend(SEGMENT_HEADER_BYTES.to_le_bytes());
    file.extend(1_u16.to_le_bytes()); // one segment
    file.extend([0; 6]); // and no sections
    // The segment: the whole file, to be read and executed.
    let bytes = CODE_AT + code.len() as u64;
    file.extend(1_u32.to_le_bytes()); // to be loaded
    file.extend(5_u32.to_le_bytes()); // read, execute
    for word in [0, BASE, BASE, bytes, bytes, PAGE] {
        file.extend(word.to_le_bytes());
    }
    file.extend(code);
    file
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read as _,
        os::unix::{fs::PermissionsExt, process::ExitStatusExt as _},
        process::Command,
        time::{Duration, Instant},
    };

    use super::*;

    #[test]
    fn the_program_waits_and_does_nothing_else() {
        let layer = layer(std::env::consts::ARCH).unwrap().unwrap();
        let mut archive = tar::Archive::new(&layer[..]);
        let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
        let mut program = vec![];
        entry.read_to_end(&mut program).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("wait");
        std::fs::write(&path, &program).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        // Another test that forks at this moment holds the file open for writing.
        let busy = |error: &io::Error| error.kind() == io::ErrorKind::ExecutableFileBusy;
        let mut child = loop {
            match Command::new(&path).spawn() {
                Err(error) if busy(&error) => std::thread::yield_now(),
                spawned => break spawned.unwrap(),
            }
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        let stat = format!("/proc/{}/stat", child.id());
        while !std::fs::read_to_string(&stat).unwrap().contains("(wait) S") {
            assert!(Instant::now() < deadline, "it never sleeps");
            assert_eq!(child.try_wait().unwrap(), None, "it ended");
            std::thread::yield_now();
        }
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }

    #[test]
    fn a_machine_without_a_program_has_no_image() {
        assert!(layer("s390x").is_none());
        assert!(layer("x86_64").is_some() && layer("aarch64").is_some());
    }
}
