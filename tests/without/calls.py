"""The calls of the system that can be taken away. Not in sitecustomize: a Python of Debian has one of its own."""

CALLS = {
    "fcntl": ("fcntl",),
    "link": ("os.link",),
    "O_DIRECTORY": ("os.O_DIRECTORY",),
    "O_NONBLOCK": ("os.O_NONBLOCK", "os.O_NOCTTY", "os.set_blocking"),
    "memfd": ("os.memfd_create", "os.MFD_CLOEXEC", "os.posix_fallocate"),
    "resource": ("resource",),
    "preadv": ("os.preadv", "os.pread"),
    "uname": ("os.uname",),
    "kill": ("os.kill",),
    "SIGKILL": ("signal.SIGKILL", "signal.pthread_sigmask"),
    "symlink": ("os.symlink",),
    "sched_getaffinity": ("os.sched_getaffinity",),
    "fork": ("os.fork", "os.register_at_fork"),
    "removal": (),  # of a file that is open, which Windows refuses
}
