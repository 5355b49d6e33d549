#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A test of the simulator: bugs of the kinds that matter are planted one at a time, and each must be
found. Each is a piece of the engine's source and what it is replaced by in a copy; a piece that is
not there exactly once any more is a failure too, so that the list follows the engine.

Usage: planted_bugs.py [RUNS]     (from the root of the sources; 96 runs for each bug by default)
"""
import glob
import os
import shutil
import subprocess
import sys
import tempfile

COMMIT = '    if (r == 0)\n        r = journal_commit(pool->journal);\n'
BUGS = [
    ('the metadata is not synced before the superblock', 'lun/pool/checkpoint.c',
     '    if (r == 0)\n        r = pool_sync(pool);\n    if (r == 0)\n        r = checkpoint_write_super',
     '    if (r == 0)\n        r = checkpoint_write_super'),
    ('a batch of the journal is not synced', 'lun/pool/journal.c',
     '        return r;\n    }\n    return pool_sync(pool);\n}', '        return r;\n    }\n    return 0;\n}'),
    ('the data of a batch is not synced before it', 'lun/pool/journal.c',
     'int r = has_records && commit->is_ordered ? pool_sync(pool) : 0;', 'int r = 0;'),
    ('a block is overwritten that replay still verifies', 'lun/map/io_write.c',
     'journal_touch(', '0 && journal_touch('),
    ('the data of a new block is not written', 'lun/map/io_write.c',
     '    if (r == 0)\n        r = device_writev(piece->pool->device, whole.iov, whole.iov_count, '
     'blk * BLK_BYTES);\n    if (r < 0)\n        return r;\n    uint8_t bytes[IO_RECORD_BYTES];',
     '    if (r < 0)\n        return r;\n    uint8_t bytes[IO_RECORD_BYTES];'),
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
]
PROGRAM = [f'tests/sim/{name}.c' for name in ('oracle', 'oracle_volume', 'sim', 'sim_main', 'sim_ops',
                                                   'sim_volume')]
PROGRAM += [f'tests/lib/{name}.c' for name in ('replay', 'rng', 'simdev', 'simdev_image')]


def build(root, folder):
    command = ['cc', '-std=gnu17', '-D_GNU_SOURCE', '-DLUNETTE_DEBUG_CHECKS', '-O1', '-w',
               '-DLUNETTE_VERSION="planted"', '-DSIM_SEEDS="/dev/null"', f'-I{folder}', f'-I{root}',
               '-o', f'{folder}/sim', *glob.glob(f'{folder}/lun/*/*.c'), *PROGRAM,
               '-lisal', '-lpthread']
    return subprocess.run(command, cwd=root, capture_output=True, text=True)


def plant(root, bug, runs):
    """Return what became of it, and whether it was found."""
    _, path, old, new = bug
    with open(f'{root}/{path}', encoding='utf-8') as file:
        source = file.read()
    if source.count(old) != 1:
        return f'{path} has the piece {source.count(old)} times: the list must follow it', False
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(f'{root}/lun', f'{folder}/lun')
        with open(f'{folder}/{path}', 'w', encoding='utf-8') as file:
            file.write(source.replace(old, new))
        built = build(root, folder)
        if built.returncode != 0:
            return 'does not compile: ' + built.stderr[:200], False
        run = subprocess.run([f'{folder}/sim', '--runs', str(runs), '--seed', '1'],
                             capture_output=True, text=True, errors='replace')
    signs = ('FAILED', 'invariant failed')
    lines = [line for line in run.stderr.splitlines() if any(sign in line for sign in signs)]
    return (f'found: {lines[0][:100]}', True) if lines else ('NOT FOUND', False)


def main():
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 96
    root = os.environ.get('LUNETTE_SOURCE') or os.getcwd()
    missed = 0
    for bug in BUGS:
        text, found = plant(root, bug, runs)
        missed += not found
        print(f'{bug[0]}: {text}', flush=True)
    print(f'{len(BUGS) - missed} found, {missed} missed')
    sys.exit(missed > 0)


main()
