#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A test of the simulator: bugs of the kinds that matter are planted one at a time, and each must be
found by the simulator of power cuts; a fifth field names the model of promises, or that of several
clients, instead.
Each is a piece of the engine's source and what it is replaced by in a copy; a piece that is not
there exactly once any more is a failure too, so that the list follows the engine.

Usage: planted_bugs.py [--runs N] [--list] [WORD...]
    from the root of the sources; --runs: how many for each bug, 136 by default; WORD: only bugs that
    have one of them in their name; --list: only whether their pieces are there
"""
import argparse
import concurrent.futures
import glob
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

COMMIT = '    if (r == 0)\n        r = journal_commit(pool->journal);\n'
BUGS = [
    ('the metadata is not synced before the superblock', 'lun/pool/checkpoint.c',
     '    if (r == 0)\n        r = pool_sync(pool);\n    if (r == 0)\n        r = checkpoint_write_super',
     '    if (r == 0)\n        r = checkpoint_write_super'),
    ('a batch of the journal is not synced', 'lun/pool/journal.c',
     'return commit->is_data_synced ? 0 : journal_sync(journal);', 'return 0;'),
    ('a batch whose data was synced is not durable itself', 'lun/pool/journal.c',
     'args->is_durable ? pool_write_durable(pool, buf, bytes, offset)\n'
     '                             : device_write(', 'device_write('),
    ('the data of a batch is not synced before it', 'lun/pool/journal.c',
     '        r = journal_sync_data(journal);', '        r = 0;'),
    ('a write is forgotten for whose data a batch waits', 'lun/pool/device.h',
     'return atomic_exchange(&device->is_dirty, false);',
     'atomic_exchange(&device->is_dirty, false);\n    return false;'),
    ('a block is overwritten that replay still verifies', 'lun/map/io_write.c',
     'journal_touch(', '0 && journal_touch('),
    ('the data of a new block is not written', 'lun/map/io_write.c',
     'device_writev(piece->pool->device, whole.iov, whole.iov_count, blk * BLK_BYTES));\n'
     '    if (r < 0)\n        return r;\n    uint8_t bytes[IO_RECORD_BYTES];',
     '0);\n    if (r < 0)\n        return r;\n    uint8_t bytes[IO_RECORD_BYTES];'),
    ('a drop is not noted', 'lun/map/emap.c',
     '    drops_add(change, line, run.birth, run.blk, run.len_blks, false);',
     '    if (run.len_blks != 3)\n'
     '        drops_add(change, line, run.birth, run.blk, run.len_blks, false);'),
    ('a block is taken for own that is shared', 'lun/pool/pool_internal.h',
     'return birth > atomic_load_explicit', 'return birth >= atomic_load_explicit'),
    ('a counter is not saved', 'lun/volume/catalog.c',
     '.own_blks = le64_put(atomic_load(&line->own_blks))', '.own_blks = le64_put(0)'),
    ('the last child of a hidden point is walked', 'lun/map/lineage.c',
     'return point->child_count - point->walking_children > 1;', 'return true;'),
    ('a snapshot is reported before it is durable', 'lun/volume/snapshot.c',
     COMMIT + '    if (r == 0)\n        event_add(pool, "info", "snapshot.created"',
     '    if (r == 0)\n        event_add(pool, "info", "snapshot.created"'),
    ('a snapshot of a volume is reported before it is durable', 'lun/volume/volume_snapshot.c',
     COMMIT + '    for (size_t i = 0; r == 0 && i < count; i++)',
     '    for (size_t i = 0; r == 0 && i < count; i++)'),
    ('what a snapshot of a LUN is part of is forgotten', 'lun/volume/draft.c',
     '.volume_snapshot_id = lun->volume_snapshot ? lun->volume_snapshot->object.id : 0,',
     '.volume_snapshot_id = 0,'),
    ('a head is charged to nobody after a freeze', 'lun/map/lineage.c',
     'catalog_set_line_volume(pool, head, line->volume);', ''),
    ('a redeploy gives up the head that it froze', 'lun/volume/group.c',
     'fill->is_head ? cut->head_id : cut->point_id', 'cut->point_id'),
    ('a deferred snapshot stays behind', 'lun/volume/volume.c',
     '    if (*gone)\n        volume_snapshot_plan_delete(group, parent);', ''),
    ('recovery allocates blocks that records name', 'lun/pool/pool.c',
     '    r = journal_replay(pool->journal, super, pool_replay_pin_record, pool);', '    r = 0;'),
    ('a freed block is used again before the next checkpoint', 'lun/pool/space.c',
     '        deferred_add(&space->deferred[0], blk, len);\n'
     '        group_apply_free_locked(space, group, bit, len);\n        return;',
     '        group_apply_free_locked(space, group, bit, len);\n'
     '        bits_clear(group->busy, bit, len);\n        group->free += len;\n'
     '        space->free_blks += len;\n        space->loaded_free_blks += len;\n        return;'),
    ('the nodes that a line owns are not counted after a restart', 'lun/volume/catalog.c',
     '    atomic_store(&line->own_node_blks, le64_get(disk->own_node_blks));\n', ''),
    ('a lost write of metadata is not noticed', 'lun/pool/cache.c',
     'else if (le64_get(header->cp_id) != cp_id)', 'else if (0 && cp_id)'),
    ('a block of metadata in the place of another is not noticed', 'lun/pool/cache.c',
     'else if (le64_get(header->blk) != blk)', 'else if (0)'),
    ('a failed sync is taken for none', 'lun/pool/journal.c',
     '    device_take_dirty(journal->pool->device);\n    return pool_sync(journal->pool);\n',
     '    device_take_dirty(journal->pool->device);\n'
     '    ignore_error(pool_sync(journal->pool), "planted");\n    return 0;\n'),
    ("a flush takes another's sync for its own", 'lun/pool/journal.c',
     '    device_take_dirty(journal->pool->device);\n    return pool_sync(journal->pool);\n',
     '    int r = pool_sync(journal->pool);\n'
     '    device_take_dirty(journal->pool->device);\n    return r;\n'),
    ('a comment is reported before it is durable', 'lun/volume/lun.c',
     'r = lun_put_draft(pool, lun, &draft, why);\n    }\n'
     '    return r < 0 ? r : journal_commit(pool->journal);\n}\n\n/* What a change of owner',
     'r = lun_put_draft(pool, lun, &draft, why);\n    }\n    return r;\n}\n\n/* What a change of owner'),
    ('the lock of a snapshot is forgotten by what changes it otherwise', 'lun/volume/draft.c',
     '.locked_until_ns = snapshot->locked_until_ns,', ''),
    ("a point of a guaranteed volume merges into another volume's child", 'lun/volume/ledger.c',
     'ledger_only_child(point)->volume != point->volume &&', 'false &&', 'promises'),
    ('a merge does not raise what its child is promised', 'lun/volume/ledger.c',
     'return needs <= booked ? 0 : space_raise_promised(pool->space, needs - booked, 0, &available);',
     '(void)available;\n    return needs < booked ? 0 : 0;', 'promises'),
    ('a block that becomes own leaves what is promised as it was', 'lun/map/emap.c',
     '    if (!has_changed)\n        return;\n    ledger_owns(change->pool, line);\n',
     '    if (!has_changed)\n        return;\n'),
    ('a record that is replayed promises nothing', 'lun/volume/ledger.c',
     'if (pool->is_loading || lun->object.kind', 'if (pool->is_recovering || lun->object.kind'),
    ('a volume that is loaded is not in the ledger', 'lun/volume/ledger.c',
     '    list_for_each (volume, &pool->volumes, struct volume_object, all_link)\n'
     '        ledger_book_volume(pool, volume);\n    ledger_publish(pool);',
     '    ledger_publish(pool);'),
    ('the guarantee of a clone of a volume is not asked for', 'lun/volume/volume_clone.c',
     '.is_guaranteed = draft.flags & DISK_VOLUME_GUARANTEED,', '.is_guaranteed = false,'),
    ('clones of a volume are not guaranteed', 'lun/volume/volume_clone.c',
     '(DISK_VOLUME_GUARANTEED | DISK_VOLUME_PAUSES);', 'DISK_VOLUME_PAUSES;'),
    ("a point of a guaranteed volume merges into another volume's child, under power cuts",
     'lun/volume/ledger.c', 'ledger_only_child(point)->volume != point->volume &&', 'false &&'),
    ('thin writes take what is promised', 'lun/pool/space.c',
     'return promised + (has_part', 'return 0 * promised + (has_part'),
    ('a freeze is promised nothing for what it takes from a LUN', 'lun/volume/promise.c',
     'plan_set_needs(plan, lun, ledger_fresh_needs(size, true, size));', '(void)size;', 'promises'),
    ('a drop list is not counted among the nodes that a LUN needs', 'lun/volume/ledger.c',
     'return nodes + tree_nodes_max(dropped + tree_nodes_max(dropped));',
     'return nodes + 0 * dropped;'),
    ('the first promise does not make the file whole', 'lun/volume/promise.c',
     'r = promise_allocate(pool, bytes_of(atomic_load(&pool->size_blks)), 0, why);', 'r = 0;'),
    ('a pool with promises grows by a sparse file', 'lun/volume/promise.c',
     'if (!ledger_has_promises(pool) || size_bytes <= old_bytes)', 'if (size_bytes > 0)'),
    ('what a refused command was to be promised stays held', 'lun/volume/promise.c',
     '    ledger_let_go(pool);', '    (void)pool;'),
    ('a restore is not charged to quotas', 'lun/volume/group.c',
     '        quota_delta_of(lun, (int64_t)size_bytes - (int64_t)atomic_load(&lun->size_bytes));',
     '        quota_delta_of(lun, 0 * (int64_t)size_bytes);'),
    ('a deleted LUN that comes back is not charged to quotas', 'lun/volume/place.c',
     '(int64_t)draft.size_bytes);', '0);'),
    ('a deleted LUN that comes back is promised nothing beforehand', 'lun/volume/place.c',
     '.is_reserved = draft.is_reserved,', '.is_reserved = false,'),
    ('a rename is not charged to quotas', 'lun/volume/lun.c',
     'quota_delta_at(place.volume, place.qtree, lun->owner, lun->group, bytes)};',
     'quota_delta_at(place.volume, place.qtree, lun->owner, lun->group, 0)};'),
    ('a quota rule is reported before it is durable', 'lun/volume/quota.c',
     'return r < 0 ? r : journal_commit(pool->journal);', 'return r;'),
    ('the quotas of a qtree stay behind', 'lun/volume/qtree.c',
     '        quota_forget(pool, qtree->volume, qtree, &writer);\n', ''),
    ('a LUN that moves leaves what it is charged behind', 'lun/volume/catalog_lun.c',
     'catalog_set_line_volume(pool, lun->line, lun->volume);', ''),
    ('a clone is promised nothing', 'lun/volume/promise.c',
     'plan_add_needs(plan, delta->volume, delta->in_new_volume, needs * delta->count);',
     ';', 'clients'),
    ('writes give back what they took from a bound one over the other', 'lun/volume/ledger.c',
     '    AUTO_LOCK(&pool->ledger.lock);\n    claim->volume->books.taken_blks -= claim->blks;',
     '    uint64_t was = claim->volume->books.taken_blks;\n    sched_yield();\n'
     '    claim->volume->books.taken_blks = was - claim->blks;', 'clients'),
    ('what a LUN had of a quota is not given back when it is deleted', 'lun/volume/quota.c',
     '    return bytes;\n}\n\n/* What @deltas add',
     '    static uint64_t most[4096];\n'
     '    uint64_t *of = &most[subject->volume->object.id % 4096];\n'
     '    return *of = bytes > *of ? bytes : *of;\n}\n\n/* What @deltas add', 'clients'),
    ('a guaranteed volume is not promised what it grows by', 'lun/volume/promise.c',
     'volume->size_blks = delta->size_bytes / BLK_BYTES;\n        volume->is_guaranteed',
     'volume->size_blks = volume->is_guaranteed ? volume->size_blks : delta->size_bytes / BLK_BYTES;\n'
     '        volume->is_guaranteed', 'clients'),
    ('what an unmap makes a reserved LUN need is booked twice', 'lun/volume/ledger.c',
     'ledger_add_lun_needs(pool, books->volume, needs - booked);',
     'ledger_add_lun_needs(pool, books->volume,\n'
     '                         needs - booked + (needs == booked + 1 ? 1 : 0));', 'clients'),
    ('the ledger forgets a volume that is resized', 'lun/volume/catalog_volume.c',
     '    ledger_volume(pool, volume);\n    if (r == 0)',
     '    if (!object)\n        ledger_volume(pool, volume);\n    if (r == 0)', 'clients'),
    ('a quota does not count the largest LUN', 'lun/volume/quota.c',
     'bytes += atomic_load(&lun->size_bytes);',
     'bytes += atomic_load(&lun->size_bytes) < 800000 ? atomic_load(&lun->size_bytes) : 0;',
     'clients'),
    ('a promise is refused far too early', 'lun/volume/promise.c',
     'PROMISE_MARGIN_BLKS = 64,', 'PROMISE_MARGIN_BLKS = 640,', 'clients'),
    ('a promised write does not wait for a checkpoint', 'lun/map/io_patience.c',
     'if (space_use_is_promised(use) && (checkpoint_may_retry(r) || r == -ENOSPC))',
     'if (space_use_is_promised(use) && checkpoint_may_retry(r))\n        return -ENOSPC;\n    if (0)',
     'clients'),
    ('a clone is nobody\'s unless it is told whose', 'lun/volume/clone.c',
     'draft.owner = args->owner ? args->owner : lun->owner;',
     'draft.owner = args->owner ? args->owner : "";', 'clients'),
    ('a clone counts for no user', 'lun/volume/clone.c',
     'quota_delta_at(place.volume, place.qtree, draft.owner, draft.group,',
     'quota_delta_at(place.volume, place.qtree, NULL, draft.group,', 'clients'),
    ('the default rule of groups is ignored', 'lun/volume/quota.c',
     '    if (subject->type != QUOTA_TREE)\n        quota_key(',
     '    if (subject->type == QUOTA_USER)\n        quota_key(', 'clients'),
    ('the default rule of groups is above that of a group', 'lun/volume/quota.c',
     '    *is_default = false;\n    if (quota_find(pool, key, limits))\n        return true;',
     '    *is_default = false;\n    if (subject->type != QUOTA_GROUP && quota_find(pool, key, limits))\n'
     '        return true;', 'clients'),
    ('a LUN gets an owner whose quota is used up', 'lun/volume/lun.c',
     '        attributes_quotas(lun, mask, attributes, quotas);\n'
     '        r = quota_check(pool, quotas, 2, false, why);',
     '        attributes_quotas(lun, mask, attributes, quotas);', 'clients'),
    ('a LUN moves into a qtree that is full', 'lun/volume/lun.c',
     'place.qtree, lun->owner, lun->group, bytes)};\n    r = quota_check(pool, quotas, 2, false, why);',
     'place.qtree, lun->owner, lun->group, bytes)};', 'clients'),
    ('users are told nothing of their soft limit', 'lun/volume/quota.c',
     'if (quota_crossed(limits.soft_bytes, before, now))',
     'if (subject->type != QUOTA_USER && quota_crossed(limits.soft_bytes, before, now))', 'clients'),
    ('a restore is promised nothing', 'lun/volume/group.c',
     '    lun_group_promise(group, &delta);\n    struct quota_delta quota =\n        quota_delta_of',
     '    struct quota_delta quota =\n        quota_delta_of', 'clients'),
    ('a restore is asked of no quota', 'lun/volume/group.c',
     '    lun_group_quota(group, &quota);\n    group_fill_in(', '    group_fill_in(', 'clients'),
    ('a LUN that comes back is promised nothing', 'lun/volume/place.c',
     '    lun_group_promise(group, &delta);\n', '', 'clients'),
    ('a LUN that comes back counts for no quota', 'lun/volume/place.c',
     '    lun_group_quota(group, &quota);\n', '', 'clients'),
    ('a LUN that comes back is in no qtree', 'lun/volume/place.c',
     'if (r == 0 && member->qtree)', 'draft.qtree_id = 0;\n    if (0)', 'clients'),
    ('a qtree that is renamed loses its quotas', 'lun/volume/qtree.c',
     '    qtree_draft_put(&draft, &writer);\n    r = command_run(pool, NULL, &writer, true, why);\n'
     '    if (r < 0)\n        return r;\n    list_for_each',
     '    qtree_draft_put(&draft, &writer);\n    quota_forget(pool, qtree->volume, qtree, &writer);\n'
     '    r = command_run(pool, NULL, &writer, true, why);\n    if (r < 0)\n        return r;\n'
     '    list_for_each', 'clients'),
    ('a qtree is reported renamed before it is durable', 'lun/volume/qtree.c',
     '        r = journal_commit(pool->journal);\n    if (r < 0)\n        return r;\n'
     '    event_add(pool, "info", "qtree.renamed"',
     '        r = 0;\n    if (r < 0)\n        return r;\n    event_add(pool, "info", "qtree.renamed"',
     'clients'),
    ('a crash forgets a quota rule', 'lun/volume/quota.c',
     'return r < 0 ? r : journal_commit(pool->journal);', 'return r;', 'clients'),
    ('a crash forgets that quotas are on', 'lun/volume/quota.c', COMMIT, '', 'clients'),
    ('a redeploy is reported before it is durable', 'lun/volume/redeploy.c', COMMIT, '', 'clients'),
    ('a crash loses what was flushed', 'lun/map/io_write.c',
     'r = pool_may_change(lun->pool);\n    return r < 0 ? r : journal_commit(lun->pool->journal);',
     'return pool_may_change(lun->pool);', 'clients'),
]
FLAGS = ['-std=gnu17', '-D_GNU_SOURCE', '-DLUNETTE_DEBUG_CHECKS', '-O1', '-w',
         '-DLUNETTE_VERSION="planted"', '-DSIM_SEEDS="/dev/null"', '-DPROMISES_SEEDS="/dev/null"',
         '-DCLIENTS_SEEDS="/dev/null"']
LIB = [f'tests/lib/{name}.c' for name in ('replay', 'rng', 'simdev', 'simdev_image')]
PROGRAMS = {
    'sim': LIB + [f'tests/sim/{name}.c' for name in (
        'coverage', 'coverage_stake', 'oracle', 'oracle_quota', 'oracle_space', 'oracle_volume', 'sim',
        'sim_books', 'sim_clients', 'sim_fault', 'sim_judge', 'sim_main', 'sim_more', 'sim_odds', 'sim_ops', 'sim_promise',
        'sim_volume')] + [
            'tests/model/space_rules.c'],
    'promises': LIB + [f'tests/model/{name}.c' for name in ('promises', 'promises_io', 'promises_main',
                                                            'promises_manage', 'promises_merge',
                                                            'space_rules')],
    'clients': LIB + [f'tests/model/{name}.c' for name in (
        'clients', 'clients_call', 'clients_check', 'clients_crash', 'clients_io', 'clients_main',
        'clients_manage', 'clients_no_policy', 'clients_quota', 'clients_tree', 'clients_volume',
        'space_rules')],
}
WRAPS = {'sim': ['-Wl,--wrap=record_apply,--wrap=journal_switch,--wrap=journal_switch_done'],
         'promises': [], 'clients': []}


def compile_one(root, source, to, includes):
    """The object of a source file; an error of the compiler ends all."""
    target = f'{to}/{source.replace("/", "-")}.o'
    where = next(folder for folder in includes if os.path.exists(f'{folder}/{source}'))
    run = subprocess.run(['cc', *FLAGS, *(f'-I{folder}' for folder in includes), '-c', '-o', target,
                          f'{where}/{source}'], cwd=root, capture_output=True, text=True)
    if run.returncode != 0:
        raise RuntimeError(f'{source} does not compile: {run.stderr[:300]}')
    return target


def compile_all(root, sources, to, includes):
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = pool.map(lambda source: compile_one(root, source, to, includes), sources)
        return dict(zip(sources, objects))


def search(program, runs):
    """Run until something is found: a sentence, and after how many runs. None: nothing."""
    command = [program, '--runs', str(runs), '--seed', '1']
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                          errors='replace', start_new_session=True) as run:
        sentence = None
        for line in run.stderr:
            seed = re.search(r'--mode (\w+) --seed (\d+)', line)
            if sentence is None and ('FAILED' in line or 'invariant failed' in line):
                sentence = line.strip()
            elif sentence is not None and seed:
                os.killpg(run.pid, signal.SIGKILL)
                return sentence, int(seed[2])
        return (sentence, runs) if sentence else None


def plant(root, bug, objects, runs):
    """Return what became of it, and whether it was found."""
    _, path, old, new, *rest = bug
    program = rest[0] if rest else 'sim'
    sources = [*LUN, *PROGRAMS[program]]
    with open(f'{root}/{path}', encoding='utf-8') as file:
        source = file.read()
    with tempfile.TemporaryDirectory() as folder:
        os.makedirs(os.path.dirname(f'{folder}/{path}'))
        with open(f'{folder}/{path}', 'w', encoding='utf-8') as file:
            file.write(source.replace(old, new))
        # A header is beside those that include it only by the name it has in a whole tree.
        if path.endswith('.h'):
            shutil.copytree(f'{root}/lun', f'{folder}/lun', dirs_exist_ok=True,
                            ignore=lambda _, names: [name for name in names
                                                     if name == os.path.basename(path)])
        changed = [path] if path.endswith('.c') else sources
        objects = objects | compile_all(root, changed, folder, [folder, root])
        linked = [objects[source] for source in sources]
        subprocess.run(['cc', '-o', f'{folder}/program', *WRAPS[program], *linked, '-lisal',
                        '-lpthread'], check=True)
        found = search(f'{folder}/program', runs)
    return (f'found in run {found[1]}: {found[0][:100]}', True) if found else ('NOT FOUND', False)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.partition('Usage')[0])
    parser.add_argument('--runs', type=int, default=136)
    parser.add_argument('--list', action='store_true')
    parser.add_argument('words', nargs='*')
    return parser.parse_args()


def main():
    args = parse()
    root = os.environ.get('LUNETTE_SOURCE') or os.getcwd()
    bugs = [bug for bug in BUGS if any(word in bug[0] for word in args.words or [''])]
    missed = 0
    for name, path, old, *_ in bugs:
        with open(f'{root}/{path}', encoding='utf-8') as file:
            count = file.read().count(old)
        if count != 1:
            print(f'{name}: {path} has the piece {count} times: the list must follow it')
            missed += 1
        elif args.list:
            print(f'{name}: {path}')
    if args.list or missed > 0 or not bugs:
        sys.exit(missed > 0 or not bugs)
    LUN.extend(sorted(os.path.relpath(path, root) for path in glob.glob(f'{root}/lun/*/*.c')))
    with tempfile.TemporaryDirectory() as folder:
        everything = sorted({*LUN, *itertools.chain.from_iterable(PROGRAMS.values())})
        objects = compile_all(root, everything, folder, [root])
        for bug in bugs:
            text, found = plant(root, bug, objects, args.runs)
            missed += not found
            print(f'{bug[0]}: {text}', flush=True)
    print(f'{len(bugs) - missed} found, {missed} missed')
    sys.exit(missed > 0)


LUN = []
main()
