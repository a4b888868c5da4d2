"""The reference, broken on purpose: by behaviour of memorydb.md, with the test that must notice."""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    """`old` occurs once in `file`. `test`: a file and, after `::`, a name or the start of one."""

    file: str
    old: str
    new: str
    test: str


LOG = "targets/memorydb_py/log/"
NODE = "targets/memorydb_py/node/"
WRITES, LEASES, REPLICAS = "node/test_writes.py", "node/test_leases.py", "node/test_replicas.py"
INTERFACE, PROTOCOL = "log/test_interface.py", "log/test_protocol.py"
TRIMMING, LOG_STORE = "snapshots/test_trimming.py", "log/test_store.py"
SNAPSHOTS, STORE = "snapshots/test_snapshots.py", "targets/memorydb_py/snapshots/"

MUTANTS = {
    "1-unconditional": Mutant(
        LOG + "service.py",
        "elif last != Id(ask.after_epoch, ask.first - 1) or not may_follow(ask, last.epoch):",
        "elif last.n != ask.first - 1:",
        f"{INTERFACE}::test_an_old_writer_is_refused",
    ),
    "1-whatever-is-there": Mutant(
        LOG + "service.py", "        if same:\n", "        if True:\n",
        f"{INTERFACE}::test_of_fifty_appenders",
    ),
    "2-one-copy": Mutant(
        LOG + "replica.py", "index = matches[self._quorum - 1]", "index = matches[0]",
        f"{INTERFACE}::test_what_is_not_committed_is_not_seen",
    ),
    "2-wiped-counts": Mutant(
        LOG + "replica.py", "return self.store.known_members(agreed).get(name) == incarnation",
        "return True", f"{PROTOCOL}::test_a_wiped_az_forms_no_quorum",
    ),
    "2-wiped-counts-early": Mutant(
        LOG + "replica.py", "agreed = max(self.commit, self.store.meta.agreed)",
        "agreed = self.store.last", f"{PROTOCOL}::test_a_second_loss",
    ),
    "2-not-synced": Mutant(
        LOG + "store.py", "        self._written.set()\n",
        "        self._written.set()\n        self.durable = self.last\n",
        "test_all_at_once.py::test_every_machine",
    ),
    "2-slow-election": Mutant(
        LOG + "replica.py", "ELECTION_S = 0.1 ", "ELECTION_S = 0.5 ",
        f"{PROTOCOL}::test_appends_resume",
    ),
    "2-hasty-leader": Mutant(
        LOG + "replica.py", "(p.incarnation == UNHEARD or self._is_voter(name))",
        "self._is_voter(name)", f"{PROTOCOL}::test_azs_that_are_far_apart",
    ),
    "3-uncommitted": Mutant(
        LOG + "replica.py", "        self.spread()\n        return record.index",
        "        self._commit = record.index\n        self.spread()\n        return record.index",
        f"{INTERFACE}::test_what_is_not_committed_is_not_seen",
    ),
    "4-again-under-a-new-id": Mutant(
        LOG + "service.py", "        if same:\n            node.accepted",
        "        if False:\n            node.accepted",
        f"{INTERFACE}::test_a_lost_acknowledgement",
    ),
    "5-unchecked": Mutant(
        NODE + "shard.py", "if wanted == self._checksum:",
        "if True:", f"{LEASES}::test_a_byte_that_changed",
    ),
    "6-early": Mutant(
        NODE + "server.py", "        n = self._settle(session, call)\n        session.reply(reply, n)",
        "        self._settle(session, call)\n        session.reply(reply)",
        f"{WRITES}::test_a_write_is_answered",
    ),
    "7-no-deletes": Mutant(
        NODE + "server.py", "            effects = call.effects\n",
        "            effects = [e for e in call.effects if e[0] != b'DEL']\n",
        f"{WRITES}::test_what_goes_to_the_log",
    ),
    "8-apart": Mutant(
        NODE + "server.py", "            n = shard.write(effects, call.writes)",
        "            for effect in effects:\n                n = shard.write([effect], call.writes)",
        f"{WRITES}::test_a_transaction_or_script",
    ),
    "9-out-of-order": Mutant(
        NODE + "session.py", "if n <= self._server.committed and not parked:",
        "if n <= self._server.committed:", f"{WRITES}::test_replies_keep_their_order",
    ),
    "9-held-back": Mutant(
        NODE + "session.py", "if n <= self._server.committed and not parked:",
        "if n <= self._server.committed and not parked and len(self._todo) < 2:",
        f"{WRITES}::test_replies_keep_their_order",
    ),
    "10-no-op": Mutant(
        NODE + "server.py", "        return shard.tracker.position(call.reads)\n",
        "        return 0\n", f"{WRITES}::test_answers_that_show",
    ),
    "11-first-key-only": Mutant(
        NODE + "tracker.py", "max((dirty.get(key, 0) for key in keys), default=0)",
        "next((dirty.get(key, 0) for key in keys), 0)",
        f"{WRITES}::test_a_command_waits_for_each",
    ),
    "11-everything": Mutant(
        NODE + "tracker.py", "max((dirty.get(key, 0) for key in keys), default=0)", "self.last",
        f"{WRITES}::test_a_command_waits_for_each",
    ),
    "11-strings": Mutant(
        NODE + "server.py", "            if key in dirty or key in expires:",
        "            if key in expires:", f"{WRITES}::test_that_a_key_is_gone",
    ),
    "12-keyless": Mutant(
        NODE + "server.py", "        if call.whole:\n            return shard.tracker.last",
        "        if call.whole:\n            return 0", f"{WRITES}::test_reads_without_a_key",
    ),
    "13-absence": Mutant(
        "targets/engine/execution.py",
        "        self.state.drop(key)\n        self.writes[key] = None\n\n    def instead",
        "        self.state.drop(key)\n\n    def instead",
        f"{WRITES}::test_that_a_key_is_gone",
    ),
    "14-first-commit": Mutant(
        NODE + "tracker.py", "if dirty.get(key) == at:", "if key in dirty:",
        f"{WRITES}::test_a_key_that_is_written_again",
    ),
    "15-watch-nil": Mutant(
        NODE + "server.py", "session.reply(NIL_ARRAY, self.shard.tracker.position(watched))",
        "session.reply(NIL_ARRAY)", f"{WRITES}::test_exec_waits",
    ),
    "15-reads-of-exec": Mutant(
        NODE + "server.py", "        session.reply(replies, n)", "        session.reply(replies)",
        f"{WRITES}::test_exec_waits",
    ),
    "16-declared-only": Mutant(
        NODE + "server.py", "        return shard.tracker.position(call.reads)\n",
        "        return 0 if session and session.last_command == b'EVAL' else "
        "shard.tracker.position(call.reads)\n",
        f"{WRITES}::test_scripts_wait",
    ),
    "17-woken-early": Mutant(
        NODE + "server.py",
        "                session.reply(reply, n)\n                freed.append(session)",
        "                session.reply(reply)\n                freed.append(session)",
        f"{WRITES}::test_who_is_woken",
    ),
    "19-stalls": Mutant(
        NODE + "server.py",
        "        if self._serving and (self.parked >= most or self.shard.tracker.waiting >= most):",
        "        if self._serving and self.parked:", f"{WRITES}::test_other_work",
    ),
    "20-unbounded": Mutant(
        NODE + "server.py",
        "        if self._serving and (self.parked >= most or self.shard.tracker.waiting >= most):",
        "        if False:", f"{WRITES}::test_what_waits_is_bounded",
    ),
    "21-demoted-keeps": Mutant(
        NODE + "shard.py", "self.state, self.tracker = State(scripts=scripts, sharded=True), Tracker()",
        "self.state, self.tracker = self.state, Tracker()",
        f"{LEASES}::test_what_is_not_committed",
    ),
    "22-goes-on": Mutant(
        NODE + "shard.py", '            self._host.log(f"role: entry {batch.id} was refused")\n'
        "            self.demote()\n", "            pass\n",
        f"{LEASES}::test_a_primary_whose_append",
    ),
    "23-error": Mutant(
        NODE + "server.py", "            if session.parked or session.number in self._waits:\n"
        "                session.abort()",
        "            if session.parked or session.number in self._waits:\n"
        "                session._parked.clear()\n                session.reply(CLUSTERDOWN)",
        f"{LEASES}::test_a_primary_whose_append",
    ),
    "24-executed": Mutant(
        NODE + "server.py", "        error = error or self._too_much()\n",
        "        if error is None and self._too_much():\n"
        "            call = self._call()\n            call.perform(known, command)\n"
        "            self._settle(session, call)\n        error = error or self._too_much()\n",
        f"{WRITES}::test_what_waits_is_bounded",
    ),
    "25-unlooked-at": Mutant(
        NODE + "session.py", "        self._server.check_lease()\n", "",
        f"{LEASES}::test_what_queued",
    ),
    "25-from-the-answer": Mutant(
        NODE + "shard.py",
        "self._lease_until = max(self._lease_until, asked + self._settings.lease_ms * MS)",
        "self._lease_until = self._host.lease_ns() + self._settings.lease_ms * 3 * MS",
        f"{LEASES}::test_what_queued",
    ),
    "26-no-end": Mutant(
        NODE + "shard.py", "self._host.lease_ns() < self._lease_until", "True",
        f"{LEASES}::test_a_primary_without_its_log",
    ),
    "27-hasty": Mutant(
        NODE + "shard.py",
        "return waited > self._settings.backoff_ms * MS + self._jitter",
        "return waited > self._settings.lease_ms * MS // 2",
        f"{LEASES}::test_who_has_observed_nothing",
    ),
    "27-unobserved": Mutant(
        NODE + "shard.py",
        "        self._observed, self._backoff_waived = self._host.lease_ns(), False\n        self._jitter",
        "        self._backoff_waived = False\n        self._jitter",
        f"{LEASES}::test_who_has_observed_nothing",
    ),
    "27-unchecked": Mutant(
        NODE + "settings.py", "        if self.backoff_ms < least:", "        if False:",
        f"{LEASES}::test_backoff_is_longer",
    ),
    "28-received-only": Mutant(
        NODE + "shard.py",
        "if tail != self.applied or applied != tail or self._reign != reign:",
        "if self._reign != reign:", f"{LEASES}::test_only_who_has_applied",
    ),
    "29-two-leaders": Mutant(
        NODE + "shard.py", "            self._observed = self._host.lease_ns()\n            return\n",
        "            pass\n", f"{LEASES}::test_of_five",
    ),
    "30-wall-clock": Mutant(
        "harness/simulation/world.py",
        "return self._process.machine.clock.count(self._world.loop.now_ns)",
        "return self._process.machine.clock.wall(self._world.loop.now_ns)",
        f"{LEASES}::test_wall_clocks",
    ),
    "31-from-memory": Mutant(
        NODE + "shard.py",
        "        self.log.follow(self.applied.n, self._apply, self._lacking)\n        tail = await self.log.tail()",
        "        tail = await self.log.tail()\n        self.log.follow(tail.n, self._apply, self._lacking)",
        f"{LEASES}::test_one_fresh_node",
    ),
    "32-serves-on": Mutant(
        NODE + "shard.py", '        self.role = "releasing"\n        self._lease_until = 0\n', "",
        f"{LEASES}::test_a_hand_over",
    ),
    "32-waits": Mutant(
        NODE + "shard.py", "self._backoff_waived = entry[1] == self._host.name",
        "self._backoff_waived = False", f"{LEASES}::test_a_hand_over",
    ),
    "33-no-renewals": Mutant(
        NODE + "settings.py", "return self.lease_ms // 4", "return self.lease_ms * 100",
        f"{LEASES}::test_who_has_not_seen",
    ),
    "34-gives-up": Mutant(
        NODE + "shard.py", "        if now - self._lease_until > self._settings.backoff_ms * MS:\n",
        "        if now - self._lease_until > 0:\n            raise SystemExit(1)\n        if False:\n",
        f"{LEASES}::test_a_log_that_nobody_reaches",
    ),
    "35-anybody": Mutant(
        NODE + "server.py", "if session.readonly and reads and shard.role",
        "if not known.write and shard.role", f"{REPLICAS}::test_reads_of_replicas",
    ),
    "36-too-early": Mutant(
        NODE + "server.py", "return None if shard.ready else LOADING", "return None",
        f"{REPLICAS}::test_a_replica_that_starts",
    ),
    "38-own-clock": Mutant(
        NODE + "server.py", "call.begin(self.time_ms(), None if self._serving else READONLY, ",
        "call.mask = True\n        call.begin(self.time_ms(), None if self._serving else READONLY, ",
        f"{REPLICAS}::test_a_replicas_clock",
    ),
    "39-comes-back": Mutant(
        NODE + "server.py", "            for key in self.shard.state.due(time_ms, EXPIRED_AT_ONCE):",
        "            for key in ():", f"{REPLICAS}::test_a_primary_deletes",
    ),
    "39-relative": Mutant(
        "targets/engine/strings.py",
        '        call.instead((b"SET", key, value, b"PXAT", b"%d" % end_ms))', "        pass",
        f"{REPLICAS}::test_a_key_that_was_absent",
    ),
    "40-moves": Mutant(
        "targets/engine/keys.py", "    seconds, ms = divmod(call.time_ms, 1000)",
        "    call.time_ms += 1\n    seconds, ms = divmod(call.time_ms, 1000)", f"{REPLICAS}::test_time_stands_still",
    ),
    "55-late": Mutant(
        NODE + "shard.py", "JITTER_MS = 60", "JITTER_MS = 600",
        f"{LEASES}::test_writes_resume",
    ),
    "41-off-by-one": Mutant(
        STORE + "snapshot.py", "at = Id(int(epoch), int(n))", "at = Id(int(epoch), int(n) - 1)",
        f"{SNAPSHOTS}::test_whatever_the_position",
    ),
    "42-from-the-beginning": Mutant(
        NODE + "shard.py", "        self._begin_with(found)\n", "",
        f"{SNAPSHOTS}::test_nodes_begin_with",
    ),
    "43-data-unchecked": Mutant(
        STORE + "snapshot.py", "if hashlib.sha256(loading.body).hexdigest() != data_checksum:",
        "if False:", f"{SNAPSHOTS}::test_a_snapshot_that_is_wrong",
    ),
    "43-file-unchecked": Mutant(
        "targets/engine/rdb_file.py", "if announced and announced != rdb.crc64(self._data[:-8]):",
        "if False:", f"{SNAPSHOTS}::test_a_snapshot_that_was_corrupted",
    ),
    "43-unconfirmed": Mutant(
        NODE + "shard.py",
        "if self._restored is not None:  # it was not offered before the log had confirmed it",
        "if False:", f"{SNAPSHOTS}::test_a_snapshot_that_is_wrong",
    ),
    "43-unrehearsed": Mutant(
        STORE + "snapshotter.py", "    wrong = await rehearse(host, log, data, version)",
        "    wrong = None", f"{SNAPSHOTS}::test_a_snapshot_is_rehearsed",
    ),
    "42-leader-forgotten": Mutant(
        NODE + "shard.py",
        "self.applied, self._checksum, self.leader = found.id, found.checksum, found.leader",
        "self.applied, self._checksum = found.id, found.checksum",
        f"{TRIMMING}::test_a_replica_that_began",
    ),
    "44-up-to-the-newest": Mutant(
        STORE + "snapshotter.py", "    oldest = good[KEPT - 1][0]", "    oldest = good[0][0]",
        f"{TRIMMING}::test_the_second_newest",
    ),
    "44-damaged-counts": Mutant(
        STORE + "recovery.py", "            fits(check(await objects.get(name)), n, version)\n",
        "            await objects.get(name)\n", f"{TRIMMING}::test_a_damaged_snapshot",
    ),
    "44-more-than-said": Mutant(
        LOG + "store.py", "index = min(self.index_of(n + 1) - 1, self.durable, commit)",
        "index = min(self.durable, commit)", f"{TRIMMING}::test_the_second_newest",
    ),
    "44-uncommitted": Mutant(
        LOG + "store.py", "index = min(self.index_of(n + 1) - 1, self.durable, commit)",
        "index = min(self.index_of(n + 1) - 1, self.durable)",
        f"{TRIMMING}::test_what_is_not_committed",
    ),
    "44-silent": Mutant(
        LOG + "service.py", "        if ask.after < self._store.base.last:", "        if False:",
        f"{TRIMMING}::test_whole_segments",
    ),
    "44-gone-too-early": Mutant(
        LOG + "store.py",
        "            await self.promise()\n            await self._remove(names)\n            self._host",
        "            await self._remove(names)\n            await self.promise()\n            self._host",
        f"{TRIMMING}::test_power_is_lost",
    ),
    "44-no-generations": Mutant(
        LOG + "store.py", "generation=self.base.generation + 1)", "generation=self.base.generation)",
        f"{TRIMMING}::test_a_base_replaces",
    ),
    "44-takes-it-for-its-own": Mutant(
        LOG + "replica.py", "            if store.term_at(index) != install.base.term:\n",
        "            if False:\n", f"{TRIMMING}::test_an_az_that_lacks",
    ),
    "44-overtaken": Mutant(
        LOG + "store.py", "after {Id(base.epoch, base.last)}\")", "after {self.id_at(base.index)}\")",
        "test_scenarios.py::test_a_trim_that_another_overtakes",
    ),
    "44-overlaps": Mutant(
        LOG + "store.py", "        async with self._changing:\n            names = self._forget(n, commit)\n",
        "        names = self._forget(n, commit)\n", f"{LOG_STORE}::test_a_tail_is_cut_off",
    ),
    "44-syncs-what-is-gone": Mutant(
        LOG + "store.py", "                last = self.last\n                if last > self.durable:\n",
        "                last = self.last\n                if True:\n", f"{LOG_STORE}::test_a_base_that",
    ),
    "5-a-segment-is-missed": Mutant(
        LOG + "store.py", "        if _named(name)[1] != self.last + 1:\n", "        if False:\n",
        f"{LOG_STORE}::test_a_segment_that_is_gone",
    ),
    "45-skips": Mutant(
        NODE + "shard.py",
        "            if entries.version_of(entry) > self._settings.engine_version:",
        "            if False:", f"{SNAPSHOTS}::test_an_older_node",
    ),
    "46-newer-than-the-oldest": Mutant(
        STORE + "snapshotter.py",
        "            if entries.version_of(entry) > self._version:", "            if False:", f"{SNAPSHOTS}::test_an_older_node",
    ),
}  # fmt: skip
