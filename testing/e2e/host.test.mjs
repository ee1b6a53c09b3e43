// What the host does to one `meridian up`: an ordinary user's rights, a disk that fills up. Real Docker, no browser; needs root to set the stage.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, chown, copyFile, mkdir, mkdtemp, rm, stat, statfs, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { Meridian, executable, waitFor } from './meridian.mjs';

const run = promisify(execFile);
const isRoot = process.getuid() === 0;
/** Every system has it, and it owns nothing. */
const NOBODY = 65534;

/** Runs `body` with a Meridian that has not been started; shows its log when something fails. */
async function withMeridian(meridian, body) {
  try {
    await body();
  } catch (error) {
    console.error(meridian.log.slice(-30).join('\n'));
    throw error;
  } finally {
    await meridian.cleanUp();
  }
}

test('an ordinary user who may use Docker has a working desktop', { timeout: 150_000, skip: !isRoot }, async () => {
  const place = await mkdtemp(join(tmpdir(), 'meridian-user-'));
  await chmod(place, 0o711);
  const data = join(place, 'data');
  await mkdir(data, { mode: 0o700 });
  await chown(data, NOBODY, NOBODY);
  const copy = join(place, 'meridian');
  await copyFile(executable, copy);
  await chmod(copy, 0o755);
  const meridian = new Meridian(data, ['--zones', 'london']);
  const { gid } = await stat('/var/run/docker.sock');
  meridian.as = { uid: NOBODY, gid, executable: copy };
  try {
    await withMeridian(meridian, async () => {
      await meridian.start();
      await meridian.signIn();
      const session = await meridian.running('Desktop', 'london');
      const stream = await (await meridian.stream(session)).handshake();
      await stream.frame();
      assert.equal(await meridian.inside(session, 'id', '-u'), `${NOBODY}\n`);
      assert.equal(await meridian.inside(session, 'id', '-un'), 'user\n');
      await stream.close();

      // What this user's agent cannot keep apart from the host, it does not offer, and the refusal says so.
      const { status, body } = await meridian.launch('Browser', 'london');
      assert.equal(status, 503, JSON.stringify(body));
      assert.match(JSON.stringify(body.error.explanation), /internet/);

      await meridian.end(session);
      assert.deepEqual(await meridian.stop('SIGTERM'), { code: 0, signal: null });
      assert.deepEqual(await meridian.cleanUp(), []);
    });
  } finally {
    await rm(place, { recursive: true, force: true });
  }
});

test('a full disk stops nothing that runs, is said in words, and is forgotten once there is room', { timeout: 240_000, skip: !isRoot }, async () => {
  const place = await mkdtemp(join(tmpdir(), 'meridian-disk-'));
  // PostgreSQL's own user passes through.
  await chmod(place, 0o711);
  // What the nodes write down has a disk of its own. A database without a byte left refuses whatever makes a table longer.
  const disk = join(place, 'data', 'nodes');
  await mkdir(disk, { recursive: true });
  await run('mount', ['-t', 'tmpfs', '-o', 'size=16m,mode=0711', 'meridian-test', disk]);
  const meridian = new Meridian(join(place, 'data'), ['--zones', 'london']);
  const filler = join(disk, 'filler');
  try {
    await withMeridian(meridian, async () => {
      await meridian.start();
      await meridian.signIn();
      const session = await meridian.running('Terminal', 'london');
      const stream = await (await meridian.stream(session)).handshake();

      await fill(disk, filler);
      const waiting = await meridian.launch('Terminal', 'london');
      assert.equal(waiting.status, 201, JSON.stringify(waiting.body));
      await waitFor('the user to read why nothing moves', 30_000, async () => {
        const { body } = await meridian.call('GET', `/sessions/${waiting.body.id}`);
        return /data directory.*No space left/.test(body.progress.message);
      });
      // By now the control plane knows, and promises nothing on this agent.
      const refused = await waitFor('a refusal', 30_000, async () => {
        const answer = await meridian.launch('Terminal', 'london');
        if (answer.status !== 201) return answer;
        await meridian.call('DELETE', `/sessions/${answer.body.id}`);
        return undefined;
      });
      assert.equal(refused.status, 503, JSON.stringify(refused.body));
      assert.equal(refused.body.error.explanation[0].verdict, 'its disk takes no writes');
      await stream.frame();

      await rm(filler);
      await meridian.reaches(waiting.body.id, ['running']);
      await meridian.end(waiting.body.id);
      await waitFor('launching to work again', 60_000, async () => {
        const { status, body } = await meridian.launch('Terminal', 'london');
        if (status !== 201) throw new Error(JSON.stringify(body));
        await meridian.reaches(body.id, ['running']);
        await meridian.end(body.id);
        return true;
      });
      await stream.frame();
      await stream.close();
      await meridian.end(session);
      assert.deepEqual(await meridian.stop('SIGTERM'), { code: 0, signal: null });
      await run('umount', [disk]);
      assert.deepEqual(await meridian.cleanUp(), []);
    });
  } finally {
    await run('umount', ['--lazy', disk]).catch(() => {});
    await rm(place, { recursive: true, force: true });
  }
});

/** Leaves not a byte. */
async function fill(place, filler) {
  await writeFile(filler, '');
  await run('dd', ['if=/dev/zero', `of=${filler}`, 'bs=64k'], { maxBuffer: 1 << 20 }).catch(() => {});
  const { bavail } = await statfs(place);
  assert.equal(bavail, 0);
}
