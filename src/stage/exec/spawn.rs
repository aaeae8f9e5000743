//! Begins a process as `posix_spawn` does, with the parent-death signal, which `posix_spawn` does not know.
//!
//! A plain `fork` would copy the page tables of the whole program for each command: a run of 1,000 small commands took 1.7 times as
//! long with it. So the new process borrows the memory of this one until it becomes the command (`CLONE_VM | CLONE_VFORK`), and
//! everything that it needs is laid out before.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicI32, Ordering};
use std::{io, mem, ptr};

use rustix::io::retry_on_intr;
use rustix::process::{Pid, Signal, WaitOptions, waitpid};

/// A program, all that it is begun with, and where its output goes.
#[derive(Debug)]
pub struct Birth {
    /// Where it may be: the first place that has it counts.
    pub places: Vec<CString>,
    pub arguments: Vec<CString>,
    pub environment: Vec<CString>,
    pub folder: CString,
    pub input: File,
    pub output: File,
    pub errors: File,
}

/// What the new process reads and writes of this one, on its way to the program.
struct Way<'a> {
    birth: &'a Birth,
    arguments: &'a [*const c_char],
    /// For each place the arguments of a shell that runs what lies there.
    scripts: &'a [Vec<*const c_char>],
    environment: &'a [*const c_char],
    parent: c_int,
    /// Why it could not become the program.
    problem: AtomicI32,
}

/// What the new process needs of a stack before it becomes the program, in bytes.
const STACK: usize = 64 << 10;
/// What runs a script that names no shell.
const SHELL: &CStr = c"/bin/sh";

impl Birth {
    /// Begins the process, in a group of its own. The system kills it when the thread that called this ends.
    ///
    /// # Errors
    /// What the system says when it cannot be begun.
    pub fn begin(&self) -> io::Result<Pid> {
        let pointers = |texts: &[CString]| texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect::<Vec<_>>();
        let (arguments, environment) = (pointers(&self.arguments), pointers(&self.environment));
        let script = |place: &CString| [SHELL.as_ptr(), place.as_ptr()].into_iter().chain(arguments.iter().skip(1).copied()).collect();
        let scripts: Vec<Vec<*const c_char>> = self.places.iter().map(script).collect();
        let parent = rustix::process::getpid().as_raw_pid();
        let way = Way { birth: self, arguments: &arguments, scripts: &scripts, environment: &environment, parent, problem: AtomicI32::new(0) };
        heed_children();
        let mut stack = vec![0_u128; STACK / size_of::<u128>()];
        // SAFETY: with CLONE_VFORK this thread stands still until the new process has become the program or ended, so that `way`,
        // all it refers to, and the stack outlive their use, and the `errno` that both share has one user at a time. The stack is
        // aligned to 16 bytes and grows downwards from its end on all that Linux runs on but PA-RISC. `become_program` keeps
        // to system calls. Signals are held back meanwhile, so that no handler of ours runs in the new process.
        #[allow(unsafe_code)]
        let born = unsafe {
            let (mut all, mut before) = (mem::zeroed::<libc::sigset_t>(), mem::zeroed::<libc::sigset_t>());
            libc::sigfillset(&raw mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
            let top = stack.as_mut_ptr_range().end.cast::<c_void>();
            let way = ptr::from_ref(&way).cast_mut().cast::<c_void>();
            let born = libc::clone(become_program, top, libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD, way);
            let born = if born < 0 { Err(io::Error::last_os_error()) } else { Ok(born) };
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut());
            born
        };
        let process = Pid::from_raw(born?).ok_or_else(|| io::Error::other("the new process has no number"))?;
        match way.problem.load(Ordering::Relaxed) {
            0 => Ok(process),
            problem => {
                let _ = retry_on_intr(|| waitpid(Some(process), WaitOptions::empty()));
                Err(io::Error::from_raw_os_error(problem))
            }
        }
    }
}

/// Has the system keep how children ended until it is asked. Whoever began this program may have told it not to.
fn heed_children() {
    // SAFETY: `action` is plain data of this stack, and no handler is set, only the usual behaviour.
    #[allow(unsafe_code)]
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        if libc::sigaction(libc::SIGCHLD, ptr::null(), &raw mut action) == 0 && action.sa_sigaction == libc::SIG_IGN {
            action.sa_sigaction = libc::SIG_DFL;
            libc::sigaction(libc::SIGCHLD, &raw const action, ptr::null_mut());
        }
    }
}

/// What the new process does: it sets itself up and becomes the program. It comes back only when it cannot.
extern "C" fn become_program(way: *mut c_void) -> c_int {
    // SAFETY: it is the `Way` of the thread that began this process, and that thread waits. Only system calls are made, with
    // pointers to what the thread laid out, each list ended by a null pointer: no lock is taken and nothing allocated.
    #[allow(unsafe_code)]
    unsafe {
        let way = &*way.cast::<Way<'_>>();
        let problem = set_up(way).err().unwrap_or_else(|| {
            let mut problem = libc::ENOENT;
            for (place, script) in way.birth.places.iter().zip(way.scripts) {
                libc::execve(place.as_ptr(), way.arguments.as_ptr(), way.environment.as_ptr());
                if *libc::__errno_location() == libc::ENOEXEC {
                    // A script whose first line names no shell, as `execvp` runs it.
                    libc::execve(SHELL.as_ptr(), script.as_ptr(), way.environment.as_ptr());
                }
                match *libc::__errno_location() {
                    // It may be in the next place; that one may not be run here is worth more than that it is not there.
                    libc::ENOENT | libc::ENOTDIR | libc::ESTALE | libc::ENODEV | libc::ETIMEDOUT => {}
                    libc::EACCES => problem = libc::EACCES,
                    other => {
                        problem = other;
                        break;
                    }
                }
            }
            problem
        });
        way.problem.store(problem, Ordering::Relaxed);
        libc::_exit(127)
    }
}

/// A group of its own, the signal at its parent's end, its folder, its files, and the signals as a program expects them.
///
/// # Safety
/// Only for the new process, as for [`become_program`].
#[allow(unsafe_code)]
unsafe fn set_up(way: &Way<'_>) -> Result<(), c_int> {
    // SAFETY: as in `become_program`; `action` and `none` are plain data of this stack.
    unsafe {
        let done = |said: c_int| if said < 0 { Err(*libc::__errno_location()) } else { Ok(()) };
        done(libc::setpgid(0, 0))?;
        done(libc::prctl(libc::PR_SET_PDEATHSIG, Signal::KILL.as_raw()))?;
        // A parent that was killed before it was asked for gives no signal any more.
        if libc::getppid() != way.parent {
            return Err(libc::ESRCH);
        }
        done(libc::chdir(way.birth.folder.as_ptr()))?;
        for (file, number) in [(&way.birth.input, 0), (&way.birth.output, 1), (&way.birth.errors, 2)] {
            done(libc::dup2(file.as_raw_fd(), number))?;
        }
        for signal in 1..=64 {
            let mut action: libc::sigaction = mem::zeroed();
            // What is ignored stays so, as after `nohup`, but for what Rust itself ignores. A handler of ours must not run here.
            let known = libc::sigaction(signal, ptr::null(), &raw mut action) == 0;
            let usual = matches!(action.sa_sigaction, libc::SIG_IGN | libc::SIG_DFL);
            if known && (!usual || signal == libc::SIGPIPE) {
                action = mem::zeroed();
                action.sa_sigaction = libc::SIG_DFL;
                libc::sigaction(signal, &raw const action, ptr::null_mut());
            }
        }
        let mut none: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&raw mut none);
        done(libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut()))
    }
}
