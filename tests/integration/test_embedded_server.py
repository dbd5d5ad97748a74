"""Real servers in folders of their own, killed in every way."""

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg2
import pytest

import orchestrator_dagster
from orchestrator_dagster.db.server import (
    EmbeddedServer,
    EmbeddedServerError,
    ServerBinariesError,
    ServerNotStartedError,
    ServerPlaceError,
    ServerStartError,
    find_wheel,
)
from orchestrator_dagster.db.server_account import Account, nobody
from orchestrator_dagster.db.server_binaries import Wheel, candidates, choose_binaries
from orchestrator_dagster.db.server_files import KeeperError, ServerFolder, ServerState, read_state, wait_until
from orchestrator_dagster.db.server_place import BASES, usable_bases
from orchestrator_dagster.db.server_postmaster import initialise, is_alive

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks at processes in /proc"),
]

IS_ROOT = os.geteuid() == 0
as_root = pytest.mark.skipif(not IS_ROOT, reason="what only root can do")
CLIENT = """
import sys
from pathlib import Path
from orchestrator_dagster.db.server import EmbeddedServer
server = EmbeddedServer(Path(sys.argv[1]))
print(server.start(), flush=True)
"""
STAY = CLIENT + "sys.stdin.read()\n"


def delete(folder: Path) -> None:
    """Delete a folder in which a server is writing meanwhile."""

    def gone() -> bool:
        shutil.rmtree(folder, ignore_errors=True)
        return not folder.exists()

    assert wait_until(gone, 15)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every account can reach, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="embedded-", dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def directory(open_folder: Path) -> Iterator[Path]:
    """Where a test may have a server, which is gone afterwards with all its processes."""
    directory = open_folder / "home" / "postgres"
    yield directory
    with suppress(ServerPlaceError, ServerBinariesError):
        EmbeddedServer(directory).destroy()
    assert wait_until(lambda: not processes_of(directory), 10), processes_of(directory)


@pytest.fixture
def server(directory: Path) -> EmbeddedServer:
    server = EmbeddedServer(directory)
    server.start()
    return server


def processes_of(directory: Path) -> dict[int, str]:
    """Keeper, server and helpers, by their command lines."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = path.read_bytes().split(b"\0")
            if any(word.startswith(bytes(directory)) for word in words) and is_alive(int(path.parent.name)):
                found[int(path.parent.name)] = b" ".join(words).decode()
    return found


def process_of(directory: Path, name: str) -> int:
    return next(pid for pid, command in processes_of(directory).items() if name in command)


def keeper_of(directory: Path) -> int:
    return process_of(directory, "server_keeper_process")


def state_of(directory: Path) -> ServerState:
    state = read_state(ServerFolder(directory))
    assert state
    return state


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: not is_alive(pid), 10)


def ask(url: str, statement: str = "SELECT 1") -> object:
    connection = psycopg2.connect(url.replace("+psycopg2", ""))
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            row = cursor.fetchone() if cursor.description else None
            return row[0] if row else None
    finally:
        connection.close()


@contextmanager
def client(directory: Path, script: str = STAY) -> Iterator["subprocess.Popen[str]"]:
    """Another process that uses the server until its standard input is closed or it is killed."""
    command = [sys.executable, "-c", script, str(directory)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        try:
            yield process
        finally:
            process.kill()


def url_of(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    return process.stdout.readline().strip()


class TestTheServer:
    def test_is_set_up_for_durable_utf8_data_in_utc(self, server: EmbeddedServer) -> None:
        settings = ("fsync", "synchronous_commit", "server_encoding", "TimeZone", "password_encryption")
        assert [ask(server.url, f"SHOW {name}") for name in settings] == ["on", "on", "UTF8", "UTC", "scram-sha-256"]
        assert ask(server.url, "SELECT array_agg(w ORDER BY w) FROM unnest('{b,B,a,é}'::text[]) w") == [*"Bab", "é"]
        assert int(str(ask(server.url, "SHOW max_connections"))) >= 200

    def test_listens_to_this_machine_only(self, server: EmbeddedServer) -> None:
        assert ask(server.url, "SHOW listen_addresses") == "127.0.0.1"
        assert ask(server.url, "SHOW unix_socket_directories") == ""
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", state_of(server.directory).port), timeout=2)

    def test_lets_nobody_in_without_the_password(self, server: EmbeddedServer) -> None:
        password = (server.directory / "password").read_text()
        with pytest.raises(psycopg2.OperationalError, match="password"):
            ask(server.url.replace(password, "wrong"))

    def test_keeps_its_files_private(self, server: EmbeddedServer) -> None:
        assert {path.stat().st_mode & 0o077 for path in server.directory.iterdir()} == {0}
        assert server.directory.stat().st_mode & 0o066 == 0

    def test_runs_as_an_account_without_rights_when_we_are_root(self, server: EmbeddedServer) -> None:
        owner = Path(f"/proc/{state_of(server.directory).postmaster}").stat().st_uid
        assert owner == (nobody()[0] if IS_ROOT else os.geteuid())

    def test_keeps_what_was_written_when_it_is_stopped(self, server: EmbeddedServer) -> None:
        ask(server.url, "CREATE TABLE kept AS SELECT 42 AS answer")
        assert server.stop()
        assert ask(server.start(), "SELECT answer FROM kept") == 42

    def test_is_one_however_often_it_is_started(self, server: EmbeddedServer) -> None:
        assert server.start() == server.url == EmbeddedServer(server.directory).start()

    def test_has_no_url_before_it_is_started_nor_after(self, directory: Path) -> None:
        server = EmbeddedServer(directory)
        for _ in range(2):
            with pytest.raises(ServerNotStartedError):
                _ = server.url
            assert server.stop()
            server.start()
            server.stop()

    def test_is_stopped_at_the_end_of_a_with_block(self, directory: Path) -> None:
        with EmbeddedServer(directory) as server:
            pid = state_of(directory).postmaster
            assert ask(server.url) == 1
        assert not is_alive(pid)
        assert not processes_of(directory)

    def test_leaves_nothing_when_it_is_destroyed(self, server: EmbeddedServer) -> None:
        server.destroy()
        assert not server.directory.exists()
        assert not processes_of(server.directory)

    def test_takes_another_port_when_its_last_one_is_taken(self, server: EmbeddedServer) -> None:
        port = state_of(server.directory).port
        server.stop()
        with socket.socket() as other:
            other.bind(("127.0.0.1", port))
            other.listen()
            assert ask(server.start()) == 1
        assert state_of(server.directory).port != port

    def test_gets_a_new_password_when_the_file_was_lost(self, server: EmbeddedServer) -> None:
        server.stop()
        (server.directory / "password").unlink()
        assert ask(server.start()) == 1

    def test_shows_the_end_of_its_log_when_it_does_not_start(self, server: EmbeddedServer) -> None:
        server.stop()
        with (server.directory / "data" / "postgresql.conf").open("a") as settings:
            settings.write("\nthis is no setting\n")
        with pytest.raises(ServerStartError, match="syntax error in file"):
            server.start()


class TestSharing:
    def test_processes_that_start_at_once_get_one_server(self, directory: Path) -> None:
        with client(directory) as one, client(directory) as two, client(directory) as three:
            urls = {url_of(process) for process in (one, two, three)}
            assert len(urls) == 1
            assert ask(urls.pop()) == 1
            assert sum("server_keeper_process" in command for command in processes_of(directory).values()) == 1
            assert sum("postgres -D" in command for command in processes_of(directory).values()) == 1

    def test_a_server_that_another_process_uses_is_not_stopped(self, server: EmbeddedServer) -> None:
        with client(server.directory) as other:
            url = url_of(other)
            assert server.stop() is False
            with pytest.raises(EmbeddedServerError, match="Another process"):
                server.destroy()
            assert ask(url) == 1
        assert server.stop() is True

    def test_a_client_that_comes_while_the_server_stops_gets_it_started_again(self, server: EmbeddedServer) -> None:
        for _ in range(5):
            stopping = threading.Thread(target=server.stop)
            stopping.start()
            with client(server.directory) as other:
                assert ask(url_of(other)) == 1
                stopping.join()

    def test_a_forked_child_goes_on_using_the_server_when_its_parent_has_ended(self, directory: Path) -> None:
        script = CLIENT + "import os\nif not os.fork():\n    print(os.getpid(), flush=True)\n    sys.stdin.read()\n"
        with client(directory, script) as parent:
            url = url_of(parent)
            child = int(url_of(parent))
            parent.wait(10)
            assert EmbeddedServer(directory).stop() is False
            assert ask(url) == 1
            os.kill(child, signal.SIGKILL)
        assert wait_until(lambda: EmbeddedServer(directory).stop(), 10)

    def test_an_idle_server_stops_by_itself_and_not_before(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ORCHESTRATOR_EMBEDDED_IDLE_SECONDS", "0.5")
        with client(directory) as process:
            url = url_of(process)
            assert not wait_until(lambda: not processes_of(directory), 1.5)
            assert ask(url) == 1
        assert wait_until(lambda: not processes_of(directory), 10)
        assert state_of(directory).status == "stopped"

    def test_nonsense_as_the_idle_time_is_refused(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ORCHESTRATOR_EMBEDDED_IDLE_SECONDS", "soon")
        with pytest.raises(EmbeddedServerError, match="soon"):
            EmbeddedServer(directory).start()

    def test_a_captured_client_ends_although_the_server_stays(self, directory: Path) -> None:
        command = [sys.executable, "-c", CLIENT, str(directory)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        assert ask(done.stdout.strip()) == 1

    def test_keeper_and_server_have_nothing_of_the_client(self, directory: Path, tmp_path: Path) -> None:
        inherited = os.open(tmp_path / "inherited", os.O_RDWR | os.O_CREAT)
        os.set_inheritable(inherited, True)
        EmbeddedServer(directory).start()
        os.close(inherited)
        for pid in processes_of(directory):
            assert os.getsid(pid) != os.getsid(0)
            files = {os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()}
            assert {name for name in files if name.startswith("/")} - {"/dev/null"} == {
                name for name in files if name.startswith(str(directory))
            }


class TestKilled:
    def test_a_killed_client_leaves_a_server_that_stops(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ORCHESTRATOR_EMBEDDED_IDLE_SECONDS", "0.2")
        with client(directory) as process:
            url_of(process)
            kill(process.pid)
        assert wait_until(lambda: not processes_of(directory), 10)

    def test_a_killed_keeper_is_replaced_by_the_next_client(self, server: EmbeddedServer) -> None:
        keeper, postmaster = keeper_of(server.directory), state_of(server.directory).postmaster
        kill(keeper)
        with client(server.directory) as other:
            assert url_of(other) == server.url
            assert keeper_of(server.directory) != keeper
            assert state_of(server.directory).postmaster == postmaster

    def test_a_server_whose_keeper_was_killed_can_be_stopped(self, server: EmbeddedServer) -> None:
        kill(keeper_of(server.directory))
        assert server.stop()
        assert not processes_of(server.directory)

    def test_a_keeper_killed_while_it_stops_the_server_leaves_no_dying_server(self, server: EmbeddedServer) -> None:
        keeper, postmaster = keeper_of(server.directory), state_of(server.directory).postmaster
        os.kill(postmaster, signal.SIGSTOP)
        os.kill(keeper, signal.SIGTERM)
        assert wait_until(lambda: state_of(server.directory).status == "stopping", 10)
        kill(keeper)
        os.kill(postmaster, signal.SIGCONT)
        with client(server.directory) as other:
            assert ask(url_of(other)) == 1
            assert state_of(server.directory).postmaster != postmaster

    def test_a_killed_server_comes_back_with_its_data_at_the_same_url(self, server: EmbeddedServer) -> None:
        url = server.url
        ask(url, "CREATE TABLE kept AS SELECT 42 AS answer")
        kill(state_of(server.directory).postmaster)
        assert server.start() == url
        assert ask(url, "SELECT answer FROM kept") == 42

    def test_a_machine_that_went_down_leaves_a_server_that_starts(self, server: EmbeddedServer) -> None:
        ask(server.url, "CREATE TABLE kept AS SELECT 42 AS answer")
        postmaster = state_of(server.directory).postmaster
        kill(keeper_of(server.directory))
        kill(postmaster)
        assert ask(server.start(), "SELECT answer FROM kept") == 42

    def test_a_number_that_is_another_process_now_is_no_server(self, server: EmbeddedServer) -> None:
        postmaster = state_of(server.directory).postmaster
        kill(keeper_of(server.directory))
        kill(postmaster)
        # Like a restarted container, in which numbers start again from one.
        user = nobody()[0] if IS_ROOT else None
        with subprocess.Popen(["/bin/sleep", "60"], user=user) as stranger:
            pid_file = server.directory / "data" / "postmaster.pid"
            pid_file.write_text(pid_file.read_text().replace(str(postmaster), str(stranger.pid), 1))
            assert ask(server.start()) == 1
            assert stranger.poll() is None
            stranger.kill()

    def test_an_initialisation_that_was_killed_is_done_again(self, directory: Path) -> None:
        with client(directory) as process:
            assert wait_until(lambda: list(directory.glob("init-*/data/global")) != [], 30)
            kill(keeper_of(directory))
            kill(process.pid)
        assert not (directory / "data").exists()
        assert ask(EmbeddedServer(directory).start()) == 1
        assert not list(directory.glob("init-*/data/base"))

    def test_a_keeper_killed_while_a_client_waits_for_it_is_replaced(self, directory: Path) -> None:
        with client(directory) as process:
            assert wait_until(lambda: list(directory.glob("init-*/data/global")) != [], 30)
            kill(keeper_of(directory))
            assert ask(url_of(process)) == 1

    def test_a_server_whose_folder_was_deleted_ends(self, server: EmbeddedServer) -> None:
        delete(server.directory)
        assert wait_until(lambda: not processes_of(server.directory), 15)


class TestVersions:
    def test_data_of_another_version_is_served_by_that_version(self, directory: Path) -> None:
        wheel = find_wheel()
        known = list(candidates(Wheel(Path(wheel[0]), wheel[1]) if wheel else None))
        older = [binaries for binaries in known if binaries.major != known[0].major]
        if not older:
            pytest.skip("one version of Postgres only")
        directory.mkdir(parents=True, mode=0o711)
        account = Account(nobody() if IS_ROOT else None)
        (directory / "password").write_text("known")
        initialise(directory, older[0], account, "known")
        assert str(ask(EmbeddedServer(directory).start(), "SHOW server_version")).startswith(str(older[0].major))

    def test_data_of_a_version_that_is_not_there_is_an_error_that_says_so(self, server: EmbeddedServer) -> None:
        server.stop()
        (server.directory / "data" / "PG_VERSION").write_text("9\n")
        with pytest.raises(ServerBinariesError, match="of Postgres 9, and there is only"):
            server.start()


@as_root
class TestAsRoot:
    @pytest.fixture
    def hidden(self, tmp_path: Path) -> Iterator[Path]:
        """A server's folder that only root reaches."""
        tmp_path.chmod(0o700)
        directory = tmp_path / "home" / "postgres"
        yield directory
        with suppress(ServerPlaceError):
            EmbeddedServer(directory).destroy()

    def test_data_is_elsewhere_when_the_account_cannot_reach_the_folder(self, hidden: Path) -> None:
        server = EmbeddedServer(hidden)
        assert ask(server.start()) == 1
        place = Path((hidden / "location").read_text())
        assert place.parent in BASES
        assert not (hidden / "data").exists()
        server.destroy()
        assert not place.exists()

    def test_a_folder_that_was_moved_keeps_its_data_and_a_copy_is_refused(self, hidden: Path) -> None:
        with EmbeddedServer(hidden) as server:
            ask(server.url, "CREATE TABLE kept AS SELECT 42 AS answer")
        copy, moved = hidden.with_name("copy"), hidden.with_name("moved")
        copy.mkdir()
        shutil.copyfile(hidden / "location", copy / "location")
        with pytest.raises(ServerPlaceError, match="is a copy of"):
            EmbeddedServer(copy).start()
        hidden.rename(moved)
        server = EmbeddedServer(moved)
        assert ask(server.start(), "SELECT answer FROM kept") == 42
        server.destroy()

    def test_data_that_is_gone_is_not_silently_replaced(self, hidden: Path) -> None:
        with EmbeddedServer(hidden):
            pass
        location = hidden / "location"
        shutil.rmtree(location.read_text())
        with pytest.raises(ServerPlaceError, match=r"any more\. Delete"):
            EmbeddedServer(hidden).start()
        location.unlink()
        assert ask(EmbeddedServer(hidden).start()) == 1

    @pytest.fixture
    def unreachable_wheel(self, tmp_path: Path) -> Wheel:
        found = find_wheel()
        if not found:
            pytest.skip("the wheel is not installed")
        tmp_path.chmod(0o700)
        package = Path(found[0])
        for folder in (package, package.with_name(f"{package.name}.libs")):
            shutil.copytree(folder, tmp_path / folder.name, symlinks=True, copy_function=os.link)
        return Wheel(tmp_path / package.name, "test")

    def test_programs_are_copied_once_when_the_account_cannot_run_them(
        self, unreachable_wheel: Wheel, open_folder: Path
    ) -> None:
        base, account = open_folder / "base", Account(nobody())
        copied = choose_binaries(unreachable_wheel, account, bases=[base])
        assert copied.folder.is_relative_to(base)
        before = (copied.folder / "postgres").stat()
        assert choose_binaries(unreachable_wheel, account, bases=[base]) == copied
        assert (copied.folder / "postgres").stat().st_ino == before.st_ino
        place = open_folder / "place"
        place.mkdir(mode=0o755)
        initialise(place, copied, account, "secret")
        assert (place / "data" / "PG_VERSION").read_text().strip() == str(copied.major)

    def test_copying_that_was_killed_is_done_again(self, unreachable_wheel: Wheel, open_folder: Path) -> None:
        base, account = open_folder / "base", Account(nobody())
        copied = choose_binaries(unreachable_wheel, account, bases=[base])
        leftover = base / "binaries" / "copy-killed"
        leftover.mkdir()
        (copied.folder / "initdb").write_bytes(b"")
        assert choose_binaries(unreachable_wheel, account, bases=[base]) == copied
        assert not leftover.exists()

    def test_a_place_that_another_user_made_is_not_used(self, open_folder: Path) -> None:
        taken, link, writable, ours = (open_folder / name for name in ("taken", "link", "writable", "ours"))
        taken.mkdir()
        os.chown(taken, *nobody())
        link.symlink_to(open_folder)
        writable.mkdir()
        writable.chmod(0o777)
        assert list(usable_bases([taken, link, writable, ours])) == [ours]
        assert ours.stat().st_mode & stat.S_IROTH

    def test_data_of_an_ordinary_user_is_served_as_that_user(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        for path in (directory.parent, directory):
            os.chown(path, *nobody())
            path.chmod(0o700)
        with EmbeddedServer(directory) as server:
            assert ask(server.url) == 1
            assert (directory / "data").stat().st_uid == nobody()[0]


class TestAsAnOrdinaryUser:
    def test_the_server_runs_as_that_user_in_a_private_folder(self, open_folder: Path) -> None:
        """Where the tests run as root: another interpreter and a copy of the modules, which that user can reach."""
        home, modules = open_folder / "home", open_folder / "modules"
        home.mkdir()
        if IS_ROOT:
            os.chown(home, *nobody())
        home.chmod(0o700)
        copy_modules(modules)
        script = textwrap.dedent("""
            import os, sys
            from pathlib import Path
            from orchestrator_dagster.db.server import EmbeddedServer
            from orchestrator_dagster.db.server_files import ServerFolder, read_state
            with EmbeddedServer(Path(sys.argv[1])) as server:
                state = read_state(ServerFolder(server.directory))
                assert server.url and os.geteuid()
                assert Path(f"/proc/{state.postmaster}").stat().st_uid == os.geteuid()
                assert (server.directory / "data" / "PG_VERSION").exists()
            assert not Path(f"/proc/{state.postmaster}").exists()
            server.destroy()
            print("well")
        """)
        code, output = run_as_ordinary_user([interpreter(), "-c", script, str(home / "postgres")], modules)
        assert (code, output.splitlines()[-1:]) == (0, ["well"]), output

    @as_root
    def test_the_folder_of_another_user_is_refused(self, open_folder: Path) -> None:
        modules, directory = open_folder / "modules", open_folder / "postgres"
        copy_modules(modules)
        directory.mkdir()
        code, output = run_as_ordinary_user([interpreter(), "-c", CLIENT, str(directory)], modules)
        assert code == 1
        assert "belongs to user 0, and this is user" in output


def copy_modules(target: Path) -> None:
    package = Path(orchestrator_dagster.__file__).parent
    (target / "orchestrator_dagster" / "db").mkdir(parents=True)
    for path in (package / "errors.py", *package.glob("db/server*.py")):
        shutil.copyfile(path, target / "orchestrator_dagster" / path.relative_to(package))
    for init in ("__init__.py", "db/__init__.py"):
        (target / "orchestrator_dagster" / init).touch()


def run_as_ordinary_user(command: list[str], modules: Path) -> tuple[int, str]:
    wheel = find_wheel()
    paths = [str(modules), *([str(Path(wheel[0]).parent)] if wheel else [])]
    user, group = nobody() if IS_ROOT else (None, None)
    done = subprocess.run(
        command,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(paths)},
        user=user,
        group=group,
        extra_groups=[] if IS_ROOT else None,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd="/",
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout


def interpreter() -> str:
    """A Python that the ordinary user can run; the one of the tests may be in root's home."""
    account = Account(nobody() if IS_ROOT else None)
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        with suppress(KeeperError):
            if account.run([python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"])[0] == 0:
                return python
    pytest.skip("no Python that an ordinary user can run")
