//! Resources that a machine can be short of for a while (pure).
//!
//! Such an error is no fault of a disk, a file or a peer: the call did not begin, and can be
//! repeated. A process that took it for a failure would end although it only had to wait.

use std::io;

use rustix::io::Errno;

/// A resource that is short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scarce {
    /// File descriptors of the process (EMFILE) or of the whole system (ENFILE).
    Descriptors,
    /// Memory of the kernel (ENOMEM).
    Memory,
}

impl Scarce {
    /// The resource that this error reports as short, if it does.
    pub fn of(error: &io::Error) -> Option<Self> {
        match Errno::from_io_error(error)? {
            Errno::MFILE | Errno::NFILE => Some(Self::Descriptors),
            Errno::NOMEM => Some(Self::Memory),
            _ => None,
        }
    }

    /// The reason for metrics and answers.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Descriptors => "no_descriptors",
            Self::Memory => "no_memory",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_passes_by_itself_is_scarce() {
        let of = |errno: Errno| Scarce::of(&errno.into());
        assert_eq!(of(Errno::MFILE), Some(Scarce::Descriptors));
        assert_eq!(of(Errno::NFILE), Some(Scarce::Descriptors));
        assert_eq!(of(Errno::NOMEM), Some(Scarce::Memory));
        for lasting in [Errno::IO, Errno::NOSPC, Errno::ROFS, Errno::NOENT, Errno::ACCESS] {
            assert_eq!(of(lasting), None, "{lasting}");
        }
        assert_eq!(Scarce::of(&io::Error::other("Too many open files")), None, "words are no errno");
    }
}
