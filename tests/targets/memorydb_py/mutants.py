"""Mutants of the reference: one deliberate defect each, with the test that must fail."""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    """One change of the sources.

    `place`: a function, as `Class.method` or `module.function`, or a constant, as
    `module.CONSTANT`; exactly one in the sources must match. `old`: an expression or statements
    that occur once in it; `new` replaces them. Both are compared as syntax trees, so layout and
    comments do not matter. `test`: a file and, after `::`, a test's name or the start of it.
    """

    place: str
    old: str
    new: str
    test: str


WRITES = "node/test_writes.py"
LEASES = "node/test_leases.py"
REPLICAS = "node/test_replicas.py"
INTERFACE = "log/test_interface.py"
PROTOCOL = "log/test_protocol.py"
TRIMMING = "snapshots/test_trimming.py"
LOG_STORE = "log/test_store.py"
SNAPSHOTS = "snapshots/test_snapshots.py"
SLICES = "node/test_slices.py"
NEWER = """if version > self._settings.engine_version:
    self._stop_before(batch, version)
    return False"""
BAD_INPUT = "node/test_bad_input.py"
BLOCKING = "node/test_blocking_beside_redis.py"
ACCESS = "log/test_access.py"

MUTANTS = {
    "unconditional": Mutant(
        "Service._propose",
        "last != Id(ask.after_epoch, ask.first - 1) or not may_follow(ask, last.epoch)",
        "last.n != ask.first - 1",
        f"{INTERFACE}::test_an_old_writer_is_refused",
    ),
    "whatever-is-there": Mutant(
        "Service._again",
        "same",
        "True",
        f"{INTERFACE}::test_of_fifty_appenders",
    ),
    "one-copy": Mutant(
        "Replica._advance",
        "self._quorum - 1",
        "0",
        f"{INTERFACE}::test_what_is_not_committed_is_not_seen",
    ),
    "wiped-counts": Mutant(
        "Replica._is_agreed",
        "self.store.known_members(agreed).get(name) == incarnation",
        "True",
        f"{PROTOCOL}::test_a_wiped_az_forms_no_quorum",
    ),
    "wiped-counts-early": Mutant(
        "Replica._is_agreed",
        "max(self.commit, self.store.meta.agreed)",
        "self.store.last",
        f"{PROTOCOL}::test_a_second_loss",
    ),
    "not-synced": Mutant(
        "Store.append",
        "self._written.set()",
        "self._written.set()\nself.durable = self.last",
        "test_all_at_once.py::test_every_machine",
    ),
    "slow-election": Mutant(
        "replica.ELECTION_TIMEOUT_S",
        "0.1",
        "0.5",
        f"{PROTOCOL}::test_appends_resume",
    ),
    "hasty-leader": Mutant(
        "Replica._tick",
        "p.incarnation == UNKNOWN_INCARNATION or self._is_voter(name)",
        "self._is_voter(name)",
        f"{PROTOCOL}::test_azs_that_are_far_apart",
    ),
    "uncommitted": Mutant(
        "Replica._write",
        "self.broadcast_append()\nreturn record.index",
        "self._commit = record.index\nself.spread()\nreturn record.index",
        f"{INTERFACE}::test_what_is_not_committed_is_not_seen",
    ),
    "again-under-a-new-id": Mutant(
        "Service._again",
        "same",
        "False",
        f"{INTERFACE}::test_a_lost_acknowledgement",
    ),
    "checksum-unchecked": Mutant(
        "Shard._check",
        "wanted == self._checksum",
        "True",
        f"{LEASES}::test_a_byte_that_changed",
    ),
    "early": Mutant(
        "Node._answer",
        "session.reply(reply, self.settle(session, outcome))",
        "self.settle(session, outcome)\nsession.reply(reply)",
        f"{WRITES}::test_a_write_is_answered",
    ),
    "no-deletes": Mutant(
        "Node.settle",
        "effects: Sequence[Command] = outcome.effects",
        "effects: Sequence[Command] = [e for e in outcome.effects if e[0] != b'DEL']",
        f"{WRITES}::test_what_goes_to_the_log",
    ),
    "apart": Mutant(
        "Node.settle",
        "position = self.shard.write(effects, outcome.writes)",
        "for effect in effects:\n    position = self.shard.write([effect], outcome.writes)",
        f"{WRITES}::test_a_transaction_or_script",
    ),
    "out-of-order": Mutant(
        "Session.send",
        "position <= self._server.committed and not parked",
        "position <= self._server.committed",
        f"{WRITES}::test_replies_keep_their_order",
    ),
    "held-back": Mutant(
        "Session.send",
        "position <= self._server.committed and not parked",
        "position <= self._server.committed and not parked and len(self._todo) < 2",
        f"{WRITES}::test_replies_keep_their_order",
    ),
    "no-op": Mutant(
        "Node.settle",
        "self._tracker.position(outcome.reads)",
        "0",
        f"{WRITES}::test_answers_that_show",
    ),
    "first-key-only": Mutant(
        "Tracker.position",
        "max((dirty.get(key, 0) for key in keys), default=0)",
        "next((dirty.get(key, 0) for key in keys), 0)",
        f"{WRITES}::test_a_command_waits_for_each",
    ),
    "everything": Mutant(
        "Tracker.position",
        "max((dirty.get(key, 0) for key in keys), default=0)",
        "self.last",
        f"{WRITES}::test_a_command_waits_for_each",
    ),
    "strings": Mutant(
        "Node._read_strings",
        "command[0] != b'GET' or len(command) != 2 or command[1] in dirty",
        "command[0] != b'GET' or len(command) != 2",
        f"{WRITES}::test_that_a_key_is_gone",
    ),
    "keyless": Mutant(
        "Node.settle",
        "self._tracker.last",
        "0",
        f"{WRITES}::test_reads_without_a_key",
    ),
    "absence": Mutant(
        "Call._drop",
        "self.writes[key] = None",
        "pass",
        f"{WRITES}::test_that_a_key_is_gone",
    ),
    "first-commit": Mutant(
        "Tracker.commit",
        "dirty.get(key) == at",
        "key in dirty",
        f"{WRITES}::test_a_key_that_is_written_again",
    ),
    "watch-nil": Mutant(
        "Node.exec",
        "session.reply(NIL_ARRAY, self._tracker.position(watched))",
        "session.reply(NIL_ARRAY)",
        f"{WRITES}::test_exec_waits",
    ),
    "reads-of-exec": Mutant(
        "Node._execute_all",
        "session.reply(replies, max(self.settle(session, whole), position))",
        "self.settle(session, whole)\nsession.reply(replies)",
        f"{WRITES}::test_exec_waits",
    ),
    "declared-only": Mutant(
        "Node.settle",
        "self._tracker.position(outcome.reads)",
        "0 if session and session.last_command == b'EVAL' else self._tracker.position(outcome.reads)",
        f"{WRITES}::test_scripts_wait",
    ),
    "woken-early": Mutant(
        "Node.serve_all_blocked",
        "session.reply(reply, position)",
        "session.reply(reply)",
        f"{WRITES}::test_who_is_woken",
    ),
    "stalls": Mutant(
        "Node.overloaded",
        "self.parked >= most or self._tracker.waiting >= most",
        "self.parked",
        f"{WRITES}::test_other_work",
    ),
    "unbounded": Mutant(
        "Node.overloaded",
        "self._serving and (self.parked >= most or self._tracker.waiting >= most)",
        "False",
        f"{WRITES}::test_what_waits_is_bounded",
    ),
    "demoted-keeps": Mutant(
        "Shard._rebuild",
        "self._engine.clear()",
        "None",
        f"{LEASES}::test_what_is_not_committed",
    ),
    "goes-on": Mutant(
        "Shard._acknowledged",
        "self.demote()",
        "None",
        f"{LEASES}::test_a_primary_whose_append",
    ),
    "error": Mutant(
        "Node.demoted",
        "session.abort()",
        "session._parked.clear()\nsession.reply(CLUSTERDOWN)",
        f"{LEASES}::test_a_primary_whose_append",
    ),
    "executed": Mutant(
        "Node._execute",
        "if not self._serving or spec.keys != ONE or spec.movable is not None:\n    error = self.redirect(session, command, spec)",
        "if not self._serving or spec.keys != ONE or spec.movable is not None:\n    error = self.redirect(session, command, spec)\nif error is None and self.overloaded():\n    self.settle(session, self.engine.execute(command, self.now()))",
        f"{WRITES}::test_what_waits_is_bounded",
    ),
    "unlooked-at": Mutant(
        "Node.handle",
        "self.check_lease()",
        "pass",
        f"{LEASES}::test_what_queued",
    ),
    "from-the-answer": Mutant(
        "Shard._renew",
        "min([end, *self._ends])",
        "self._host.lease_ns() + self._settings.lease_ms * 3 * MS",
        f"{LEASES}::test_what_queued",
    ),
    "no-end": Mutant(
        "Shard.serves",
        "self._host.lease_ns() < self._lease_until",
        "True",
        f"{LEASES}::test_a_primary_without_its_log",
    ),
    "hasty": Mutant(
        "Shard._may_campaign",
        "self._settings.backoff_of(self._promised_ms) * MS + self._jitter",
        "self._settings.lease_ms * MS // 2",
        f"{LEASES}::test_who_has_observed_nothing",
    ),
    "unobserved": Mutant(
        "Shard._observe",
        "self._observed, self._backoff_waived = (self._host.lease_ns(), False)",
        "self._backoff_waived = False",
        f"{LEASES}::test_who_has_observed_nothing",
    ),
    "settings-unchecked": Mutant(
        "Settings.check",
        "self.backoff_ms < least",
        "False",
        f"{LEASES}::test_backoff_is_longer",
    ),
    "received-only": Mutant(
        "Shard._campaign",
        "tail != self.applied or applied != tail or self.generation != generation",
        "self.generation != generation",
        f"{LEASES}::test_only_who_has_applied",
    ),
    "two-leaders": Mutant(
        "Shard._campaign",
        "self._observed = self._host.lease_ns()\nreturn",
        "pass",
        f"{LEASES}::test_of_five",
    ),
    "wall-clock": Mutant(
        "SimulatedHost.lease_ns",
        "self._process.machine.clock.count",
        "self._process.machine.clock.wall",
        f"{LEASES}::test_wall_clocks",
    ),
    "from-memory": Mutant(
        "Shard._rebuild",
        "self.log.follow(self.applied.n, self._apply, self._on_trimmed)\ntail = await self.log.tail()",
        "tail = await self.log.tail()\nself.log.follow(tail.n, self._apply, self._on_trimmed)",
        f"{LEASES}::test_one_fresh_node",
    ),
    "serves-on": Mutant(
        "Shard.hand_over",
        "self.role = 'releasing'\nself._lease_until = 0",
        "pass",
        f"{LEASES}::test_a_hand_over",
    ),
    "waits": Mutant(
        "Shard._observe",
        "successor == self._host.name",
        "False",
        f"{LEASES}::test_a_hand_over",
    ),
    "no-renewals": Mutant(
        "Settings.renew_ms",
        "self.lease_ms // 4",
        "self.lease_ms * 100",
        f"{LEASES}::test_who_has_not_seen",
    ),
    "gives-up": Mutant(
        "Shard._keep_lease",
        'self._host.log("role: the lease ended long ago and can\'t be renewed")',
        "raise SystemExit(1)",
        f"{LEASES}::test_a_log_that_nobody_reaches",
    ),
    "anybody": Mutant(
        "Node.redirect",
        "session.readonly and reads and shard.role == 'replica'",
        "not spec.write and shard.role == 'replica'",
        f"{REPLICAS}::test_reads_of_replicas",
    ),
    "too-early": Mutant(
        "Node.redirect",
        "None if shard.ready else LOADING",
        "None",
        f"{REPLICAS}::test_a_replica_that_starts",
    ),
    "own-clock": Mutant(
        "Node._execute",
        "context.may_block = self._serving or not spec.write",
        "context.may_block = self._serving or not spec.write\ncontext.mask = True",
        f"{REPLICAS}::test_a_replicas_clock",
    ),
    "comes-back": Mutant(
        "Expiry._due",
        "node.engine.keys.due(node.time_ms(), EXPIRED_IN_AN_ENTRY)",
        "()",
        f"{REPLICAS}::test_a_primary_deletes",
    ),
    "relative": Mutant(
        "strings._set_until",
        "call.instead((b'SET', key, value, b'PXAT', b'%d' % end_ms))",
        "pass",
        f"{REPLICAS}::test_a_key_that_was_absent",
    ),
    "moves": Mutant(
        "keys._time",
        "seconds, ms = divmod(call.time_ms, 1000)",
        "call.time_ms += 1\nseconds, ms = divmod(call.time_ms, 1000)",
        f"{REPLICAS}::test_time_stands_still",
    ),
    "late": Mutant(
        "shard.JITTER_MS",
        "60",
        "600",
        f"{LEASES}::test_writes_resume",
    ),
    "off-by-one": Mutant(
        "snapshot.read",
        "int(n)",
        "int(n) - 1",
        f"{SNAPSHOTS}::test_whatever_the_position",
    ),
    "from-the-beginning": Mutant(
        "Shard._rebuild",
        "self.generation != generation or not await self._begin_with(found)",
        "self.generation != generation",
        f"{SNAPSHOTS}::test_nodes_begin_with",
    ),
    "data-unchecked": Mutant(
        "snapshot.read",
        "hashlib.sha256(loader.body).hexdigest() != data_checksum",
        "False",
        f"{SNAPSHOTS}::test_a_snapshot_that_is_wrong",
    ),
    "file-unchecked": Mutant(
        "Loader._check",
        "announced and announced != rdb.crc64(self._data[:-8])",
        "False",
        f"{SNAPSHOTS}::test_a_snapshot_that_was_corrupted",
    ),
    "unconfirmed": Mutant(
        "Shard._check_ready",
        "self._restored is not None",
        "False",
        f"{SNAPSHOTS}::test_a_snapshot_that_is_wrong",
    ),
    "unrehearsed": Mutant(
        "snapshotter.take",
        "await verify(host, log, made.file, version)",
        "None",
        f"{SNAPSHOTS}::test_a_snapshot_is_rehearsed",
    ),
    "leader-forgotten": Mutant(
        "Shard._begin_with",
        "self.applied, self._checksum, self.leader = (found.id, found.checksum, found.leader)",
        "self.applied, self._checksum = (found.id, found.checksum)",
        f"{TRIMMING}::test_a_replica_that_began",
    ),
    "up-to-the-newest": Mutant(
        "snapshotter.trim",
        "KEPT - 1",
        "0",
        f"{TRIMMING}::test_the_second_newest",
    ),
    "damaged-counts": Mutant(
        "recovery.usable",
        "fits(read(await objects.get(name)), n, version)",
        "await objects.get(name)",
        f"{TRIMMING}::test_a_damaged_snapshot",
    ),
    "more-than-said": Mutant(
        "Store._forget",
        "min(self.index_of(n + 1) - 1, self.durable, commit)",
        "min(self.durable, commit)",
        f"{TRIMMING}::test_the_second_newest",
    ),
    "trims-uncommitted": Mutant(
        "Store._forget",
        "min(self.index_of(n + 1) - 1, self.durable, commit)",
        "min(self.index_of(n + 1) - 1, self.durable)",
        f"{TRIMMING}::test_what_is_not_committed",
    ),
    "silent": Mutant(
        "Service._follow",
        "ask.after < self._store.base.last",
        "False",
        f"{TRIMMING}::test_whole_segments",
    ),
    "gone-too-early": Mutant(
        "Store.trim",
        "await self.save_meta()\nawait self._remove(names)",
        "await self._remove(names)\nawait self.save_meta()",
        f"{TRIMMING}::test_power_is_lost",
    ),
    "no-generations": Mutant(
        "Store.install",
        "self.base.generation + 1",
        "self.base.generation",
        f"{TRIMMING}::test_a_base_replaces",
    ),
    "takes-it-for-its-own": Mutant(
        "Replica._handle_install",
        "store.term_at(index) != install.base.term",
        "False",
        f"{TRIMMING}::test_an_az_that_lacks",
    ),
    "overtaken": Mutant(
        "Store.trim",
        "Id(base.epoch, base.last)",
        "self.id_at(base.index)",
        "test_scenarios.py::test_a_trim_that_another_overtakes",
    ),
    "overlaps": Mutant(
        "Store.trim",
        "async with self._changing:\n    names = self._forget(n, commit)",
        "names = self._forget(n, commit)",
        f"{LOG_STORE}::test_a_tail_is_cut_off",
    ),
    "syncs-what-is-gone": Mutant(
        "Store.keep_synced",
        "last > self.durable",
        "True",
        f"{LOG_STORE}::test_a_base_that",
    ),
    "a-segment-is-missed": Mutant(
        "Store._load_segment",
        "_named(name)[1] != self.last + 1",
        "False",
        f"{LOG_STORE}::test_a_segment_that_is_gone",
    ),
    "skips": Mutant(
        "Shard._observe",
        "version > self._settings.engine_version",
        "False",
        f"{SNAPSHOTS}::test_an_older_node",
    ),
    "newer-than-the-oldest": Mutant(
        "Copy._observe",
        "version > self._version",
        "False",
        f"{SNAPSHOTS}::test_an_older_node",
    ),
    "keeps-the-longer-promise": Mutant(
        "Shard._renew",
        "min(self._lease_until, end)",
        "self._lease_until",
        f"{SLICES}::test_a_shorter_promise",
    ),
    "waits-as-usual": Mutant(
        "Shard._observe",
        "self._promised_ms = lease_ms or self._settings.lease_ms\nreturn self._check(batch, wanted)",
        "return self._check(batch, wanted)",
        f"{SLICES}::test_the_lease_outlasts",
    ),
    "all-at-once": Mutant(
        "Turns.over",
        "now >= self._end_ns or (now >= self._share_end_ns and bool(self._waiting))",
        "False",
        f"{SLICES}::test_a_long_pipeline",
    ),
    "no-shares": Mutant(
        "Turns.over",
        "now >= self._share_end_ns and bool(self._waiting)",
        "False",
        f"{SLICES}::test_many_clients",
    ),
    "unread-without-bound": Mutant(
        "Session.full",
        "self._out_bytes >= WRITE_BYTES or self.unsent_bytes > UNSENT_BYTES_MAX",
        "False",
        f"{BAD_INPUT}::test_the_commands_of_a_client",
    ),
    "limits-of-nobody": Mutant(
        "OutputLimit.exceeded",
        "self.hard and size > self.hard",
        "False",
        f"{BAD_INPUT}::test_a_client_with_too_many",
    ),
    "type-of-the-key": Mutant(
        "Call.awaited",
        "self.context.resumed and type(value) is not kind",
        "False",
        f"{BLOCKING}::test_blocked_clients",
    ),
    "any-secret": Mutant(
        "Connection._prove",
        "hmac.compare_digest(message.digest, expected.digest)",
        "True",
        f"{ACCESS}::test_who_does_not",
    ),
    "for-another-az": Mutant(
        "_shared_digest",
        "_encoder.encode(said)",
        "_encoder.encode((said[0], *said[2:]))",
        f"{ACCESS}::test_a_proof_for_one",
    ),
    "false-az": Mutant(
        "Connection._prove",
        "hmac.compare_digest(message.digest, expected.digest)",
        "not self._accepts or hmac.compare_digest(message.digest, expected.digest)",
        f"{ACCESS}::test_a_false_az",
    ),
    "first-lease": Mutant(
        "Shard._observe",
        "self._promised_ms = lease_ms or self._settings.lease_ms\n" + NEWER,
        NEWER,
        f"{SLICES}::test_the_first_lease",
    ),
    "any-az": Mutant(
        "Service.received",
        "self._peers.get(connection) != message.name",
        "False",
        f"{ACCESS}::test_an_az_speaks",
    ),
}
