"""A container of one image, run as an agent runs it: nothing that it may do is left to Docker's defaults."""

import json
import os
import pathlib
import subprocess
import tempfile
import time

IMAGES = pathlib.Path(__file__).resolve().parent.parent
HOME = "/home/user"


class Workspace:
    """Use as a context: leaves neither container nor mount behind."""

    def __init__(self, name, tag):
        self.name = name
        self.tag = tag

    def __enter__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="meridian-image-"))
        self.stream = self.directory / "stream"
        self.stream.mkdir()
        options = "size=4m,mode=0700,uid=1000,gid=1000,nosuid,nodev,noexec"
        run("mount", "-t", "tmpfs", "-o", options, "meridian-stream", self.stream)
        self.id = None
        try:
            self.id = run("docker", "run", "--detach", *self.options(), f"meridian/{self.name}:{self.tag}")
        except BaseException:
            self.__exit__()
            raise
        return self

    def options(self):
        hardening = ["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--read-only", "--network", "none"]
        limits = ["--memory", "2g", "--cpus", "2", "--pids-limit", "512"]
        mounts = [
            *("--tmpfs", "/tmp:rw,nosuid,nodev,noexec,size=256m,mode=1777"),
            *("--tmpfs", "/run:rw,nosuid,nodev,noexec,size=16m"),
            *("--tmpfs", "/var/tmp:rw,nosuid,nodev,noexec,size=64m,mode=1777"),
            *("--tmpfs", f"{HOME}:rw,nosuid,nodev,exec,size=512m,uid=1000,gid=1000,mode=0700"),
            *("--volume", f"{self.stream}:/run/stream"),
        ]
        options = ["--init", "--user", "1000:1000", "--hostname", self.name, *hardening, *limits, *mounts]
        if self.name == "browser":
            options += ["--security-opt", f"seccomp={IMAGES}/seccomp/chromium.json", "--shm-size", "512m"]
        return options

    def __exit__(self, *_):
        if self.id:
            subprocess.run(["docker", "rm", "--force", self.id], capture_output=True, check=False)
        subprocess.run(["umount", self.stream], capture_output=True, check=False)
        os.rmdir(self.stream)
        os.rmdir(self.directory)

    @property
    def rfb(self):
        return str(self.stream / "rfb.sock")

    @property
    def helper(self):
        return str(self.stream / "helper.sock")

    @property
    def x_socket(self):
        return f"/proc/{self.inspect()['State']['Pid']}/root/tmp/.X11-unix/X0"

    def inspect(self):
        return json.loads(run("docker", "inspect", self.id))[0]

    def exec(self, *command, check=True):
        """Inside, as the workspace's user: the command's output."""
        return run("docker", "exec", self.id, *command, check=check)

    def health(self):
        """None when healthy, the reason otherwise."""
        done = subprocess.run(
            ["docker", "exec", self.id, "meridian-helper", "health"], capture_output=True, text=True, check=False
        )
        return None if done.returncode == 0 else done.stderr.strip() or f"exit status {done.returncode}"

    def await_ready(self):
        wait_for("the workspace is ready", self.health, lambda reason: reason is None, 90)

    def await_end(self):
        """The exit status with which the container ends by itself."""
        state = wait_for(
            "the container ends", lambda: self.inspect()["State"], lambda state: state["Status"] == "exited", 30
        )
        return state["ExitCode"]

    def processes(self):
        """Process ids on the host, with their command lines."""
        lines = run("docker", "top", self.id, "-eo", "pid,args").splitlines()[1:]
        return [(int(pid), arguments) for pid, arguments in (line.split(None, 1) for line in lines)]

    def log(self):
        done = subprocess.run(["docker", "logs", self.id], capture_output=True, text=True, check=False)
        return (done.stdout + done.stderr)[-3000:]


def run(*command, check=True):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout.strip()


def wait_for(what, look, good, limit):
    """Looks until it is good; says at the end of the limit what was seen last."""
    deadline = time.monotonic() + limit
    while True:
        seen = look()
        if good(seen):
            return seen
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {limit} s: {what}; last seen: {seen}")
        time.sleep(0.1)
