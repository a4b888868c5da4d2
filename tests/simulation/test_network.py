"""Simulated TCP: order, cuts, resets, timeouts, and shaped links."""

from __future__ import annotations

import asyncio
import errno

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.simulation.delays import Delays
from harness.simulation.loop import Livelock
from tests.simulation.worlds import Echo, Sink, connect, seconds, server, start, world


def test_bytes_arrive_in_order_whatever_the_latency() -> None:
    w = world(delays=Delays(low_ns=1, high_ns=50_000_000, slow_per_1024=200))
    made: list[Echo] = []

    async def main() -> None:
        start(w, "a", server(Echo, made))
        await asyncio.sleep(0.1)
        client = await connect(w)
        for i in range(300):
            client.transport.write(b"%d," % i)
            if i % 10 == 0:
                await asyncio.sleep(0.001)
        await asyncio.sleep(10)
        assert client.data == made[0].data == b"".join(b"%d," % i for i in range(300))

    w.run(main())


def test_a_cut_holds_bytes_and_keeps_the_connection() -> None:
    w = world()
    made: list[Echo] = []

    async def main() -> None:
        start(w, "a", server(Echo, made))
        await asyncio.sleep(0.1)
        client = await connect(w)
        w.cut([("c1", "a")])
        client.transport.write(b"hello")
        await asyncio.sleep(30)
        assert made[0].data == b""
        assert w.network.link("c1", "a").held_now == 5
        w.cut([])
        await asyncio.sleep(1)
        assert client.data == b"hello"
        assert w.network.link("c1", "a").stats()["held_total"] == 5
        assert w.network.link("c1", "a").held_now == 0
        assert client.lost == made[0].lost == []

    w.run(main())


def test_a_cut_of_one_direction_lets_the_other_through() -> None:
    w = world()
    made: list[Echo] = []

    async def main() -> None:
        start(w, "a", server(Echo, made))
        await asyncio.sleep(0.1)
        client = await connect(w)
        w.cut([("a", "c1")])
        client.transport.write(b"hello")
        await asyncio.sleep(1)
        assert made[0].data == b"hello"
        assert client.data == b""
        w.cut([])
        await asyncio.sleep(1)
        assert client.data == b"hello"

    w.run(main())


def test_the_operator_is_never_cut_off() -> None:
    w = world()

    async def main() -> None:
        start(w, "a", server(Echo, []))
        await asyncio.sleep(0.1)
        w.cut([("operator", "a"), ("a", "operator"), ("c1", "a"), ("a", "c1")])
        assert await asyncio.wait_for(connect(w, source="operator"), 1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(connect(w), 1)

    w.run(main())


def test_a_connection_begun_in_a_cut_is_made_after_it() -> None:
    w = world()

    async def main() -> None:
        start(w, "a", server(Echo, []))
        await asyncio.sleep(0.1)
        w.cut([("c1", "a")])
        pending = asyncio.create_task(connect(w))
        await asyncio.sleep(2.5)
        assert not pending.done()
        w.cut([])
        await asyncio.sleep(1)
        assert pending.done(), "the SYN is sent again after 1, 2, 4 seconds"

    w.run(main())


def test_connecting_fails_without_a_listener_a_host_or_power() -> None:
    w = world()

    async def idle(host) -> None:
        await asyncio.sleep(1000)

    async def main() -> None:
        start(w, "a", idle)
        with pytest.raises(ConnectionRefusedError):
            await connect(w)
        with pytest.raises(OSError, match="no simulated host is called 'nobody'"):
            await connect(w, name="nobody")
        w.power_off(w.machines["a"])
        began = seconds(w)
        with pytest.raises(TimeoutError) as e:
            await connect(w)
        assert e.value.errno == errno.ETIMEDOUT
        assert seconds(w) - began == 127

    w.run(main())


def test_a_killed_process_resets_its_connections_and_refuses_new_ones() -> None:
    w = world()

    async def main() -> None:
        a = start(w, "a", server(Echo, []))
        await asyncio.sleep(0.1)
        client = await connect(w)
        w.kill(a)
        await asyncio.sleep(0.1)
        assert isinstance(client.lost[0], ConnectionResetError)
        with pytest.raises(ConnectionRefusedError):
            await connect(w)

    w.run(main())


def test_after_a_power_cut_peers_receive_nothing_until_the_machine_is_back() -> None:
    w = world()

    async def main() -> None:
        start(w, "a", server(Echo, []))
        await asyncio.sleep(0.1)
        quiet, talking = await connect(w), await connect(w)
        w.power_off(w.machines["a"])
        talking.transport.write(b"are you there?")
        await asyncio.sleep(60)
        assert quiet.lost == talking.lost == []
        start(w, "a", server(Echo, []))
        await asyncio.sleep(1)
        assert isinstance(talking.lost[0], ConnectionResetError), "the new kernel does not know it"
        assert quiet.lost == [], "half open: nothing has been sent on it"
        quiet.transport.write(b"hello?")
        await asyncio.sleep(1)
        assert isinstance(quiet.lost[0], ConnectionResetError)

    w.run(main())


def test_retransmission_ends_after_a_quarter_of_an_hour() -> None:
    w = world()

    async def main() -> None:
        start(w, "a", server(Echo, []))
        await asyncio.sleep(0.1)
        client = await connect(w)
        w.cut([("c1", "a")])
        client.transport.write(b"x")
        await asyncio.sleep(920)
        assert client.lost == []
        await asyncio.sleep(10)
        assert isinstance(client.lost[0], TimeoutError)

    w.run(main())


def test_keep_alive_notices_a_silent_peer() -> None:
    import socket

    w = world()

    async def main() -> None:
        start(w, "a", server(Echo, []))
        await asyncio.sleep(0.1)
        client = await connect(w)
        sock = client.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
        await asyncio.sleep(100)
        assert client.lost == []
        w.power_off(w.machines["a"])
        began = seconds(w)
        while not client.lost:
            await asyncio.sleep(0.5)
        assert isinstance(client.lost[0], TimeoutError)
        assert 10 < seconds(w) - began <= 46

    w.run(main())


def test_close_sends_what_was_written_and_abort_does_not_wait() -> None:
    w = world()
    made: list[Echo] = []

    async def main() -> None:
        start(w, "a", server(Sink, made))
        await asyncio.sleep(0.1)
        client = await connect(w)
        client.transport.write(b"x" * 100_000)
        client.transport.close()
        client.transport.write(b"never")
        await asyncio.sleep(1)
        assert made[0].data == b"x" * 100_000
        assert made[0].eof
        assert made[0].lost == client.lost == [None]
        client = await connect(w)
        client.transport.abort()
        await asyncio.sleep(1)
        assert isinstance(made[1].lost[0], ConnectionResetError)

    w.run(main())


def test_bytes_written_before_a_close_in_a_cut_arrive_when_it_heals() -> None:
    w = world()
    made: list[Echo] = []

    async def main() -> None:
        start(w, "a", server(Sink, made))
        await asyncio.sleep(0.1)
        client = await connect(w)
        w.cut([("c1", "a")])
        client.transport.write(b"late")
        client.transport.close()
        await asyncio.sleep(5)
        w.cut([])
        await asyncio.sleep(1)
        assert made[0].data == b"late"
        assert made[0].eof

    w.run(main())


def test_held_bytes_of_a_dead_process_can_be_dropped() -> None:
    w = world()

    async def main() -> None:
        a = start(w, "a", server(Echo, []))
        await asyncio.sleep(0.1)
        client = await connect(w)
        w.cut([("a", "c1")])
        client.transport.write(b"hello")
        await asyncio.sleep(1)
        w.kill(a)
        w.network.drop_held("a")
        w.cut([])
        await asyncio.sleep(1)
        assert client.data == b""
        assert isinstance(client.lost[0], ConnectionResetError)
        assert w.network.link("a", "c1").stats()["dropped"] == 5

    w.run(main())


def test_reset_ends_the_connections_of_a_pair() -> None:
    w = world()
    made: list[Echo] = []

    async def main() -> None:
        start(w, "a", server(Echo, made))
        await asyncio.sleep(0.1)
        one, other = await connect(w), await connect(w, source="operator")
        assert w.network.reset("c1", "a") == 1
        await asyncio.sleep(1)
        assert isinstance(one.lost[0], ConnectionResetError)
        assert isinstance(made[0].lost[0], ConnectionResetError)
        assert other.lost == made[1].lost == []

    w.run(main())


def test_writers_wait_for_a_cut_and_for_a_reader_that_does_not_read() -> None:
    w = world()
    made: list[Echo] = []
    events: list[str] = []

    class Writer(Sink):
        def pause_writing(self) -> None:
            events.append("pause")

        def resume_writing(self) -> None:
            events.append("resume")

    async def main() -> None:
        start(w, "a", server(Sink, made))
        await asyncio.sleep(0.1)
        client = await connect(w, Writer)
        w.cut([("c1", "a")])
        client.transport.write(b"x" * 200_000)
        await asyncio.sleep(5)
        assert events == ["pause"]
        w.cut([])
        await asyncio.sleep(5)
        assert events == ["pause", "resume"]
        made[0].transport.pause_reading()
        client.transport.write(b"x" * 200_000)
        await asyncio.sleep(5)
        assert events == ["pause", "resume", "pause"]
        assert client.transport.get_write_buffer_size() == 200_000
        made[0].transport.resume_reading()
        await asyncio.sleep(5)
        assert events == ["pause", "resume"] * 2
        assert len(made[0].data) == 400_000
        w.cut([("a", "c1")])  # the acknowledgements
        client.transport.write(b"x" * 200_000)
        await asyncio.sleep(5)
        assert events[4:] == ["pause"]
        assert len(made[0].data) == 600_000
        w.cut([])
        await asyncio.sleep(5)
        assert events[4:] == ["pause", "resume"]

    w.run(main())


def test_shapes_delay_throttle_and_lose() -> None:
    w = world()

    async def round_trip() -> float:
        client = await connect(w)
        began = seconds(w)
        client.transport.write(b"x" * 1000)
        while len(client.data) < 1000:
            await asyncio.sleep(0.001)
        client.transport.close()
        return seconds(w) - began

    async def main() -> None:
        start(w, "a", server(Echo, []))
        await asyncio.sleep(0.1)
        there, back = w.network.link("c1", "a"), w.network.link("a", "c1")
        assert await round_trip() == pytest.approx(0.003, abs=0.001)
        there.shape(0.2, 0, 0)
        assert await round_trip() == pytest.approx(0.203, abs=0.002)
        assert there.delayed == 1000
        there.shape(0, 0, 10_000)
        assert await round_trip() == pytest.approx(0.103, abs=0.002)
        there.shape(0, 0, 0)
        back.loss_per_1024 = 512
        slow = sorted([await round_trip() for _ in range(40)])
        assert slow[0] < 0.01
        assert slow[-1] >= 0.4, "sent again after 200, 400, … ms"
        assert back.lost > 10

    w.run(main())


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("write"), st.integers(1, 2000)),
            st.tuples(st.just("wait"), st.integers(0, 400)),
            st.tuples(st.sampled_from(["cut there", "cut back", "heal", "pause", "resume"])),
        ),
        max_size=40,
    ),
    st.integers(0, 1000),
)
@settings(max_examples=80, deadline=None)
def test_no_byte_is_lost_doubled_or_moved(steps, seed: int) -> None:
    """Whatever the cuts and pauses, in the end the echo equals what was sent."""
    w = world(seed=seed, delays=Delays(slow_per_1024=100))
    made: list[Echo] = []

    async def main() -> None:
        a = start(w, "a", server(Echo, made))
        await asyncio.sleep(0.1)
        client = await connect(w)
        sent = b""
        for step, *amount in steps:
            if step == "write":
                data = bytes((len(sent) + i) % 251 for i in range(amount[0]))
                client.transport.write(data)
                sent += data
            elif step == "wait":
                await asyncio.sleep(amount[0] / 1000)
            elif step == "pause":
                w.pause(a)
            elif step == "resume":
                w.resume(a)
            else:
                flows = {"cut there": [("c1", "a")], "cut back": [("a", "c1")], "heal": []}
                w.cut(flows[step])
        w.cut([])
        w.resume(a)
        await asyncio.sleep(10)
        assert client.data == made[0].data == sent
        assert client.lost == made[0].lost == []

    w.run(main())


def test_idle_connections_with_keep_alive_do_not_hide_a_deadlock() -> None:
    import socket

    w = world()

    async def main() -> None:
        start(w, "a", server(Echo, []))
        await asyncio.sleep(0.1)
        client = await connect(w)
        sock = client.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        await asyncio.Event().wait()

    with pytest.raises(Livelock, match="nothing reached the harness"):
        w.run(main())


def test_a_writer_goes_on_after_a_cut_of_the_acknowledgements_heals() -> None:
    w = world()
    made: list[Echo] = []

    async def main() -> None:
        start(w, "a", server(Sink, made))
        await asyncio.sleep(0.1)
        _, writer = await asyncio.open_connection("a@c1", 6379)
        writer.write(b"x" * 30_000)
        w.cut([("a", "c1")])
        writer.write(b"x" * 30_000)
        await asyncio.sleep(1)
        w.cut([])
        writer.write(b"x" * 30_000)
        await asyncio.wait_for(writer.drain(), 5)
        await asyncio.sleep(1)
        assert len(made[0].data) == 90_000
        writer.close()

    w.run(main())


def test_closing_with_bytes_unread_is_a_reset() -> None:
    w = world()
    made: list[Echo] = []

    async def main() -> None:
        start(w, "a", server(Sink, made))
        await asyncio.sleep(0.1)
        client = await connect(w)
        made[0].transport.pause_reading()
        client.transport.write(b"x" * 100)
        await asyncio.sleep(1)
        made[0].transport.close()
        await asyncio.sleep(1)
        assert isinstance(client.lost[0], ConnectionResetError)

    w.run(main())


@pytest.mark.parametrize("what", ["power", "pause", "cut"])
def test_a_busy_process_sends_nothing_after_it_was_stopped(what: str) -> None:
    w = world(service_ns=1_000_000)

    class Command(Echo):
        def data_received(self, data: bytes) -> None:
            for _ in data:
                self.host.charge(1)
                self.transport.write(b"x")

    async def process(host) -> None:
        Command.host = host
        await (await host.serve(Command)).serve_forever()

    async def main() -> None:
        a = start(w, "a", process)
        await asyncio.sleep(0.1)
        client = await connect(w)
        client.transport.write(b"c" * 1000)
        await asyncio.sleep(0.1)
        if what == "power":
            w.power_off(w.machines["a"])
        elif what == "pause":
            w.pause(a)
        else:
            w.cut([("a", "c1")])
        await asyncio.sleep(0.01)
        before = len(client.data)
        assert 50 < before < 150
        await asyncio.sleep(5)
        assert len(client.data) == before
        if what == "power":
            return
        w.resume(a)
        w.cut([])
        await asyncio.sleep(5)
        assert len(client.data) == 1000

    w.run(main())


def test_a_reboot_behind_a_cut_resets_nothing_until_it_heals() -> None:
    w = world()

    async def main() -> None:
        start(w, "a", server(Echo, []))
        await asyncio.sleep(0.1)
        client = await connect(w)
        w.power_off(w.machines["a"])
        client.transport.write(b"x")
        w.cut([("a", "c1"), ("c1", "a")])
        start(w, "a", server(Echo, []))
        await asyncio.sleep(5)
        assert client.lost == []
        w.cut([])
        client.transport.write(b"x")
        await asyncio.sleep(5)
        assert isinstance(client.lost[0], ConnectionResetError)

    w.run(main())


def test_a_heal_does_not_delay_other_connections() -> None:
    w = world()

    async def main() -> None:
        start(w, "a", server(Echo, []))
        await asyncio.sleep(0.1)
        old = [await connect(w) for _ in range(20)]
        w.cut([("c1", "a")])
        for client in old:
            client.transport.write(b"x")
        await asyncio.sleep(1)
        w.cut([])
        began = seconds(w)
        fresh = await connect(w)
        fresh.transport.write(b"y")
        while not fresh.data:
            await asyncio.sleep(0.0005)
        assert seconds(w) - began < 0.01

    w.run(main())


def test_two_processes_of_one_machine_serve_beside_each_other() -> None:
    w = world("a")
    made: dict[str, list[Echo]] = {"node": [], "log": []}

    async def main() -> None:
        for name, protocols in made.items():
            w.start(name, w.machines["a"], server(Echo, protocols))
        await asyncio.sleep(0.1)
        client = await connect(w, name="log")
        client.transport.write(b"x")
        await asyncio.sleep(1)
        assert (len(made["node"]), len(made["log"])) == (0, 1)
        w.power_off(w.machines["a"])
        assert not w.machines["a"].alive()

    w.run(main())


def test_connections_that_a_process_may_open() -> None:
    w = world()
    errors: list[str] = []

    async def process(host) -> None:
        for name in ("c1", "nobody"):
            try:
                await asyncio.open_connection(name, 6379)
            except OSError as e:
                errors.append(type(e).__name__)
        _, writer = await asyncio.open_connection("10.0.0.2", 6379)
        errors.append(writer.get_extra_info("peername")[0])
        with pytest.raises(TypeError):
            writer.write(5)
        writer.write_eof()
        with pytest.raises(RuntimeError):
            writer.write(b"x")
        writer.close()

    def broken():
        raise ZeroDivisionError

    async def main() -> None:
        start(w, "b", server(Echo, []))
        start(w, "a", process)
        await asyncio.sleep(5)
        with pytest.raises(ZeroDivisionError):
            await w.loop.create_connection(broken, "b@c1", 6379)

    w.run(main())
    assert errors == ["ConnectionRefusedError", "gaierror", "10.0.0.2"]


def arrivals(seed: int, count: int = 300, **given: int) -> list[int]:
    """Return the latencies of `count` segments on a link, in nanoseconds."""
    w = world(seed=seed, delays=Delays(low_ns=1000, high_ns=2000, **given))
    link = w.network.link("a", "b")
    return [link.latency() for _ in range(count)]


def test_latency_is_drawn_from_the_seed_and_sometimes_long() -> None:
    assert arrivals(1) == arrivals(1) != arrivals(2)
    plain = arrivals(1, slow_per_1024=0)
    assert all(1000 <= took < 2000 for took in plain)
    assert len(set(plain)) > 100
    slow = [took for took in arrivals(1, 2000, slow_per_1024=100) if took >= 2000]
    assert 100 < len(slow) < 300
    assert max(slow) > 15_000


def test_jitter_spreads_around_the_delay() -> None:
    w = world(delays=Delays(low_ns=0, high_ns=0, slow_per_1024=0))
    link = w.network.link("a", "b")
    link.shape(0.1, 0.05, 0)
    drawn = [link.latency() for _ in range(500)]
    assert 50_000_000 <= min(drawn) < 60_000_000
    assert 140_000_000 < max(drawn) <= 150_000_000


def test_a_handshake_needs_both_directions() -> None:
    w = world()

    async def main() -> None:
        start(w, "a", server(Echo, []))
        await asyncio.sleep(0.1)
        w.cut([("a", "c1")])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(connect(w), 10)

    w.run(main())


def test_held_bytes_of_a_machine_that_loses_power_are_lost() -> None:
    w = world()

    async def main() -> None:
        start(w, "a", server(Echo, []))
        await asyncio.sleep(0.1)
        client = await connect(w)
        w.cut([("a", "c1")])
        client.transport.write(b"hello")
        await asyncio.sleep(1)
        assert w.network.link("a", "c1").held_now == 5
        w.power_off(w.machines["a"])
        assert w.network.link("a", "c1").held_now == 0
        w.cut([])
        await asyncio.sleep(5)
        assert client.data == b""

    w.run(main())
