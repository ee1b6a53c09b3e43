"""Tests of the workspace images, each in a container hardened as the agent's are. Run through images/test.sh."""

import argparse
import os
import socket
import stat
import sys
import traceback

from agent import Agent
from display import Display
from workspace import HOME, Workspace, run, wait_for
from x11 import Program

TEXT_LIMIT = 256 << 10
IMAGES = ["terminal", "desktop", "browser"]

# For one container while it lives.
LIVE = []
# Each in a container of its own, which it ends.
LAST = []


def check(checks, *images):
    def register(function):
        checks.append((function, images or IMAGES))
        return function

    return register


@check(LIVE)
def it_becomes_ready_and_says_so(workspace):
    workspace.await_ready()
    Agent(workspace.helper).await_ready()


@check(LIVE)
def it_shows_a_picture(workspace):
    display = Display(workspace.rfb)
    wait_for("colours", lambda: display.refresh() or display.colours(), lambda count: count > 8, 30)


@check(LIVE)
def its_sockets_are_the_users_alone(workspace):
    for path in (workspace.rfb, workspace.helper):
        found = os.lstat(path)
        assert stat.S_ISSOCK(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o600, oct(found.st_mode)
        assert (found.st_uid, found.st_gid) == (1000, 1000)


@check(LIVE)
def it_listens_on_no_port_and_no_abstract_socket(workspace):
    for table in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6"):
        rows = workspace.exec("cat", f"/proc/net/{table}", check=False).splitlines()[1:]
        assert not rows, f"{table}: {rows}"
    listening = "00010000"
    for row in workspace.exec("cat", "/proc/net/unix").splitlines()[1:]:
        fields = row.split()
        assert not (fields[3] == listening and fields[7:] and fields[7].startswith("@")), row


@check(LIVE)
def connections_that_close_at_once_lock_nobody_out(workspace):
    for _ in range(10):
        with socket.socket(socket.AF_UNIX) as bare:
            bare.connect(workspace.rfb)
    # Unread, they fill the server's short queue; without a timeout, connect waits for room.
    Display(workspace.rfb).refresh()


@check(LIVE)
def viewers_do_not_push_each_other_off(workspace):
    first, second = Display(workspace.rfb), Display(workspace.rfb)
    second.refresh()
    first.refresh()


@check(LIVE)
def the_display_takes_the_size_of_the_viewer_and_its_windows_follow(workspace):
    display = Display(workspace.rfb)
    for width, height in ((1500, 900), (1000, 650)):
        display.resize(width, height)
        corner = lambda: display.refresh() or display.pixel(width - 5, height - 60)
        wait_for("a window in the corner", corner, lambda colour: colour != (0, 0, 0), 30)


@check(LIVE)
def what_the_agent_sets_can_be_pasted(workspace):
    agent, program = Agent(workspace.helper), Program(workspace.x_socket)
    text = "Zoë → 東京\nline two"
    agent.set_text(text)
    for target in ("UTF8_STRING", "text/plain;charset=utf-8"):
        wait_for(target, lambda: program.paste(target), lambda data: data == text.encode(), 20)
    assert program.paste("UTF8_STRING", "PRIMARY") == text.encode()
    assert program.paste("STRING") == "Zoë ? ??\nline two".encode("latin1")
    assert {"TARGETS", "TIMESTAMP", "UTF8_STRING", "STRING"} <= set(program.targets())
    assert program.paste("image/png") is None


@check(LIVE)
def a_text_of_the_greatest_length_can_be_pasted(workspace):
    agent, program = Agent(workspace.helper), Program(workspace.x_socket)
    text = "0123456789abcdef" * (TEXT_LIMIT // 16)
    agent.set_text(text)
    wait_for("the text", program.paste, lambda data: data == text.encode(), 20)


@check(LIVE)
def what_a_program_copies_reaches_the_agent(workspace):
    agent, program = Agent(workspace.helper), Program(workspace.x_socket)
    program.copy("from a program ✓")
    assert agent.next_text() == "from a program ✓"


@check(LIVE)
def a_text_that_comes_in_pieces_is_put_together(workspace):
    agent, program = Agent(workspace.helper), Program(workspace.x_socket)
    text = "".join(f"{number:07}\n" for number in range(25_000))
    program.copy(text, piece=60_000)
    assert agent.next_text() == text


@check(LIVE)
def a_text_over_the_limit_is_dropped_and_the_next_one_is_not(workspace):
    agent, program = Agent(workspace.helper), Program(workspace.x_socket)
    program.copy("x" * (TEXT_LIMIT + 1), piece=60_000)
    program.copy("short again")
    assert agent.next_text() == "short again"


@check(LIVE)
def what_the_agent_sets_is_not_echoed(workspace):
    agent, program = Agent(workspace.helper), Program(workspace.x_socket)
    agent.set_text("not to come back")
    wait_for("the text", program.paste, lambda data: data == b"not to come back", 20)
    program.copy("to come back")
    assert agent.next_text() == "to come back"


@check(LIVE)
def what_was_copied_outlives_the_program(workspace):
    agent, program = Agent(workspace.helper), Program(workspace.x_socket)
    program.copy("kept")
    assert agent.next_text() == "kept"
    program.socket.close()
    other = Program(workspace.x_socket)
    wait_for("the text", other.paste, lambda data: data == b"kept", 20)


@check(LIVE)
def an_agent_that_comes_back_is_served(workspace):
    for _ in range(8):
        Agent(workspace.helper).await_ready()
    stale = [Agent(workspace.helper) for _ in range(6)]
    agent, program = Agent(workspace.helper), Program(workspace.x_socket)
    agent.await_ready()
    program.copy("still here")
    assert agent.next_text() == "still here"
    del stale


@check(LIVE)
def rubbish_on_the_helpers_socket_does_no_harm(workspace):
    for rubbish in (b"\xff\xfe\n", b"{}\n", b'{"type":"text"}\n', b"x" * (1 << 20) + b"xx"):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            client.connect(workspace.helper)
            try:
                client.sendall(rubbish)
                while client.recv(4096):
                    pass
            except ConnectionError:
                pass
    assert workspace.health() is None


@check(LIVE)
def its_root_is_read_only_and_its_home_is_seeded(workspace):
    assert workspace.exec("sh", "-c", "touch /nothing 2>/dev/null || echo refused") == "refused"
    assert workspace.exec("sh", "-c", f"test -s {HOME}/.bashrc && touch {HOME}/new && echo yes") == "yes"
    assert workspace.exec("id", "-u") == "1000"


@check(LIVE, "terminal")
def what_is_typed_arrives_and_what_is_selected_can_be_copied(workspace):
    display, agent = Display(workspace.rfb), Agent(workspace.helper)
    display.type("clear; echo $((6*7))forty >~/typed; cat ~/typed\n")
    wait_for(
        "the file", lambda: workspace.exec("cat", f"{HOME}/typed", check=False), lambda text: text == "42forty", 20
    )
    agent.set_text("echo pasted >~/pasted")
    wait_for("the text", Program(workspace.x_socket).paste, lambda data: data == b"echo pasted >~/pasted", 20)
    display.press("Control", "Shift", "V")
    # The terminal fetches the text in its own time, and a line's end may overtake it.
    entered = lambda: display.type("\n") or workspace.exec("cat", f"{HOME}/pasted", check=False)
    wait_for("the file", entered, lambda text: text == "pasted", 20)
    display.press("Control", "Shift", "A")
    display.press("Control", "Shift", "C")
    assert "42forty" in agent.next_text()


@check(LIVE, "browser")
def its_pages_are_in_chromiums_sandbox(workspace):
    processes = workspace.processes()
    assert not [arguments for _, arguments in processes if "--no-sandbox" in arguments]
    (browser,) = [pid for pid, arguments in processes if arguments.startswith("/usr/lib/chromium/chromium ") and "--type=" not in arguments]
    pages = [pid for pid, arguments in processes if "--type=renderer" in arguments]
    assert pages
    for page in pages:
        for namespace in ("user", "pid", "net"):
            assert os.readlink(f"/proc/{page}/ns/{namespace}") != os.readlink(f"/proc/{browser}/ns/{namespace}")
        with open(f"/proc/{page}/status", encoding="ascii") as file:
            status = file.read()
        assert "Seccomp:\t2" in status and "NoNewPrivs:\t1" in status
        assert not entries(f"/proc/{page}/root"), "a page sees the file system"


@check(LIVE)
def only_the_browser_may_make_namespaces_and_none_of_files(workspace):
    may = lambda *kinds: workspace.exec("sh", "-c", f"unshare {' '.join(kinds)} true 2>/dev/null && echo yes", check=False) == "yes"
    assert may("--user") == (workspace.name == "browser")
    for kind in ("--mount", "--uts", "--ipc", "--cgroup", "--time"):
        assert not may(kind) and not may("--user", kind), kind


def entries(directory):
    """Nothing where the directory is gone, as the one is that Chromium locks its processes in."""
    try:
        return os.listdir(directory)
    except (FileNotFoundError, ProcessLookupError):
        return []


@check(LAST)
def killing_it_leaves_nothing(workspace):
    run("docker", "rm", "--force", workspace.id)
    assert run("docker", "ps", "--all", "--quiet", "--no-trunc", "--filter", f"id={workspace.id}") == ""


@check(LAST)
def it_ends_when_its_display_dies(workspace):
    workspace.await_ready()
    (display,) = [pid for pid, arguments in workspace.processes() if arguments.startswith("Xvnc ")]
    os.kill(display, 9)
    assert workspace.await_end() == 70


@check(LAST)
def it_stops_when_asked(workspace):
    workspace.await_ready()
    run("docker", "stop", "--time", "15", workspace.id)
    assert workspace.await_end() == 143


@check(LAST)
def it_comes_back_after_a_restart(workspace):
    workspace.await_ready()
    run("docker", "restart", "--time", "15", workspace.id)
    workspace.await_ready()
    Display(workspace.rfb).refresh()


@check(LAST, "terminal")
def leaving_the_shell_ends_it(workspace):
    workspace.await_ready()
    Display(workspace.rfb).type("exit\n")
    assert workspace.await_end() == 0


@check(LAST, "browser")
def closing_the_last_tab_ends_it(workspace):
    workspace.await_ready()
    Display(workspace.rfb).press("Control", "w")
    assert workspace.await_end() == 0


@check(LAST, "desktop")
def logging_out_ends_it(workspace):
    workspace.await_ready()
    display = Display(workspace.rfb)
    asked = lambda: [arguments for _, arguments in workspace.processes() if arguments.startswith("yad ")]
    # The panel is there a little before the last of its buttons is.
    press = lambda: display.click(display.width - 20, display.height - 20) or asked()
    wait_for("the question", press, bool, 20)
    assert len(asked()) == 1
    dialog = lambda: display.refresh() or display.pixel(display.width // 2 - 40, display.height // 2 + 50)
    wait_for("the dialog", dialog, lambda colour: min(colour) > 200, 20)
    display.click(display.width // 2 + 134, display.height // 2 + 33)
    assert workspace.await_end() == 0


class Score:
    def __init__(self):
        self.passed = self.failed = 0

    def run(self, name, function, workspace):
        words = f"{name}: {function.__name__.replace('_', ' ')}"
        try:
            function(workspace)
        except Exception as error:  # each check stands alone, whatever happens in another
            self.failed += 1
            place = traceback.extract_tb(error.__traceback__)[-1]
            print(f"FAIL  {words}\n      {type(error).__name__}: {error} (line {place.lineno} of {place.name})")
            print("      " + workspace.log().replace("\n", "\n      "))
        else:
            self.passed += 1
            print(f"ok    {words}")
        sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(prog="images/test.sh", description=__doc__)
    parser.add_argument("--only", action="append", choices=IMAGES, help="test this image; may be given several times")
    parser.add_argument("--tag", default="dev", help="the images' tag, dev unless given")
    options = parser.parse_args()

    score = Score()
    for name in options.only or IMAGES:
        with Workspace(name, options.tag) as workspace:
            for function, images in LIVE:
                if name in images:
                    score.run(name, function, workspace)
        for function, images in LAST:
            if name in images:
                with Workspace(name, options.tag) as workspace:
                    score.run(name, function, workspace)
    print(f"{score.passed} passed, {score.failed} failed")
    return 1 if score.failed else 0


if __name__ == "__main__":
    sys.exit(main())
