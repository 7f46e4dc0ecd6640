//! The crate's only `unsafe` calls into the system: receiving file descriptors, and mapping shared memory.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;

use nix::sys::mman::{MapFlags, ProtFlags};

/// unix(7): at most `SCM_MAX_FD` (253) descriptors come with one message. With room for all of them none can be
/// cut off, and so every one that the kernel installs in this process is seen, and owned, here.
const CONTROL: usize = 2048;

/// Ancillary data must lie at the alignment of `cmsghdr`.
#[repr(C, align(16))]
struct ControlBuffer([MaybeUninit<u8>; CONTROL]);

/// One message from a socket, without waiting: its length, and the first descriptor that came with it (close-on-exec).
/// More descriptors than one are closed. A message longer than `buffer` is `EMSGSIZE`.
pub(crate) fn recv_with_fd(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut control = ControlBuffer([MaybeUninit::uninit(); CONTROL]);
    let mut iov = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: msghdr is plain C data for which all zeros is a valid value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut iov;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = CONTROL as _;
    // SAFETY: the header points at `iov` and `control`, both alive and writable for the lengths given, and the
    // descriptor is open for as long as it is borrowed.
    let received = unsafe {
        libc::recvmsg(
            socket.as_raw_fd(),
            &raw mut header,
            libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC,
        )
    };
    let Ok(length) = usize::try_from(received) else {
        return Err(io::Error::last_os_error());
    };
    let mut first = None;
    // SAFETY: recvmsg has filled in the control buffer and its length; CMSG_FIRSTHDR and CMSG_NXTHDR stay inside it
    // (cmsg(3)). The data of an SCM_RIGHTS message are descriptors that the kernel has just installed in this
    // process and that nothing else owns.
    unsafe {
        let mut cmsg = libc::CMSG_FIRSTHDR(&raw const header);
        while !cmsg.is_null() {
            if (*cmsg).cmsg_level == libc::SOL_SOCKET && (*cmsg).cmsg_type == libc::SCM_RIGHTS {
                let data = libc::CMSG_DATA(cmsg);
                let length = (*cmsg).cmsg_len.saturating_sub(libc::CMSG_LEN(0) as usize);
                for index in 0..length / size_of::<RawFd>() {
                    let mut bytes = [0; size_of::<RawFd>()];
                    data.add(index * bytes.len())
                        .copy_to_nonoverlapping(bytes.as_mut_ptr(), bytes.len());
                    let fd = OwnedFd::from_raw_fd(RawFd::from_ne_bytes(bytes));
                    // The second and later ones are dropped, and so closed.
                    first.get_or_insert(fd);
                }
            }
            cmsg = libc::CMSG_NXTHDR(&raw const header, cmsg);
        }
    }
    if header.msg_flags & libc::MSG_TRUNC != 0 {
        return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
    }
    Ok((length, first))
}

/// Memory shared with the processes that this one forks.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    length: NonZeroUsize,
}

impl Mapping {
    /// Maps the first `length` bytes of `file`, which the caller has made at least that long, for reading and writing.
    pub(crate) fn shared(file: impl AsFd, length: NonZeroUsize) -> io::Result<Self> {
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing of ours.
        let start = unsafe {
            nix::sys::mman::mmap(
                None,
                length,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_SHARED,
                file,
                0,
            )
        }?;
        Ok(Self {
            start: start.cast(),
            length,
        })
    }

    /// The first `count` values of `T` in the mapping; fewer if it is shorter.
    ///
    /// # Safety
    ///
    /// `T` must be valid for any bytes, be made of atomics only (other processes write here at any time), and align
    /// to no more than a page.
    pub(crate) unsafe fn slice<T>(&self, count: usize) -> &[T] {
        let count = count.min(self.length.get() / size_of::<T>());
        // SAFETY: inside the mapping (see above), aligned because a mapping begins at a page; the caller answers for
        // T. The mapping lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.start.cast::<T>().as_ptr(), count) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is exactly what `shared` mapped, and no reference into it outlives `self`.
        let unmapped = unsafe { nix::sys::mman::munmap(self.start.cast(), self.length.get()) };
        debug_assert!(unmapped.is_ok(), "munmap of a whole mapping cannot fail");
    }
}
