import { beforeEach, describe, expect, test } from 'vitest';
import { type Effect, StreamCore } from './core';
import { ack, attachTo, attached, carried, challenge, data, display, kinds, notice, sent, u64, verdicts } from './core.stage';
import { encodeRecord } from './records';

let core: StreamCore;
let now: number;

beforeEach(() => {
  core = new StreamCore(null);
  now = 1000;
});

function attach(verdict?: keyof typeof verdicts, received?: number, window?: number) {
  return attachTo(core, now, verdict, received, window);
}

describe('paths that follow one another', () => {
  const record = encodeRecord('display', Uint8Array.of(1, 2, 3, 4));

  test('the next ATTACH says what was received', () => {
    const { path } = attach();
    core.receive(path, data(0, record.subarray(0, 7)), now);
    core.pathClosed(path);
    core.take();
    const next = core.pathOpened(now);
    core.receive(next, challenge, now);
    expect(sent(core.take())[0]?.slice(0, 18)).toEqual([0x02, 1, ...u64(2), ...u64(7)]);
  });

  test('RESUMED goes on in the middle of a record, both ways', () => {
    const { path } = attach();
    core.receive(path, data(0, record.subarray(0, 7)), now);
    core.sendDisplay(Uint8Array.of(9, 9));
    core.pathClosed(path);
    core.sendDisplay(Uint8Array.of(8));
    const before = core.take();
    expect(display(before)).toEqual([1, 2]);
    const resumed = attach('resumed', 3);
    expect(carried(resumed.effects)).toEqual([{ offset: 3, bytes: [0, 2, 9, 9, 1, 0, 0, 0, 1, 8] }]);
    core.receive(resumed.path, data(7, record.subarray(7)), now);
    expect(display(core.take())).toEqual([3, 4]);
  });

  test('RESUMED at bytes that are gone, or were never sent, loses the stream', () => {
    const { path } = attach();
    core.sendDisplay(Uint8Array.of(9));
    core.receive(path, ack(6), now);
    core.pathClosed(path);
    core.take();
    expect(kinds(attach('resumed', 5).effects)).toEqual(['close', 'lost']);
    expect(kinds(attach('resumed', 7).effects)).toEqual(['close', 'lost']);
  });

  test('RESTARTED forgets everything that was under way', () => {
    const { path } = attach();
    core.receive(path, data(0, record.subarray(0, 7)), now);
    core.sendDisplay(Uint8Array.of(9));
    core.pathClosed(path);
    core.take();
    const restarted = attach('restarted');
    expect(restarted.effects).toEqual([{ type: 'attached', path: restarted.path, verdict: 'restarted' }]);
    core.receive(restarted.path, data(0, record), now);
    core.sendDisplay(Uint8Array.of(5));
    const effects = core.take();
    expect(display(effects)).toEqual([1, 2, 3, 4]);
    expect(carried(effects)[0]?.offset).toBe(0);
  });

  test('a path beside the attached one takes over and the earlier is closed', () => {
    const { path } = attach();
    core.sendDisplay(Uint8Array.of(9));
    core.receive(path, notice(6), now);
    expect(core.take()).toContainEqual({ type: 'notice', path, code: 'draining', message: 'no', overtaken: false });
    const next = attach('resumed', 6);
    expect(next.effects[0]).toEqual({ type: 'close', path, fault: null });
    core.receive(path, data(0, record), now);
    expect(core.take()).toEqual([]);
  });
});

describe('attaches that overlap', () => {
  const record = encodeRecord('display', Uint8Array.of(1, 2, 3, 4));

  test('a path whose ATTACH is not answered is given up for the next, and its answer not taken', () => {
    const first = core.pathOpened(now);
    const second = core.pathOpened(now);
    core.receive(first, challenge, now);
    core.receive(second, challenge, now);
    expect(core.take()).toContainEqual({ type: 'close', path: first, fault: null });
    core.receive(first, attached('new'), now);
    expect(core.attached).toBe(false);
    core.receive(second, attached('restarted'), now);
    expect(core.attached).toBe(true);
  });

  test('what came while the ATTACH was on its way is acknowledged at once', () => {
    const { path } = attach();
    const next = core.pathOpened(now);
    core.receive(next, challenge, now);
    core.receive(path, data(0, record), now);
    core.take();
    core.receive(next, attached('resumed'), now);
    expect(sent(core.take())).toEqual([[0x11, ...u64(9)]]);
    core.receive(next, data(0, record), now);
    expect(display(core.take())).toEqual([]);
  });

  test('a notice on a path that a later ATTACH left says so', () => {
    const { path } = attach();
    core.receive(core.pathOpened(now), challenge, now);
    core.take();
    core.receive(path, notice(3), now);
    expect(core.take()).toMatchObject([{ type: 'notice', code: 'superseded', overtaken: true }]);
  });
});

describe('liveness', () => {
  const ping = (effects: Effect[]) => sent(effects).find((message) => message[0] === 0x12);

  test('a PING is answered with its token, before any DATA', () => {
    const { path } = attach('new', 0, 0);
    core.sendDisplay(Uint8Array.of(1));
    core.receive(path, Uint8Array.from([0x12, 1, 2, 3, 4, 5, 6, 7, 255]), now);
    expect(sent(core.take())).toEqual([[0x13, 1, 2, 3, 4, 5, 6, 7, 255]]);
  });

  test('our PING measures the round trip, at most once a second', () => {
    const { path } = attach();
    core.tick(now);
    const message = ping(core.take()) ?? [];
    core.tick(now + 500);
    expect(ping(core.take())).toBeUndefined();
    core.receive(path, Uint8Array.from([0x13, ...message.slice(1)]), now + 42);
    expect(core.take()).toEqual([{ type: 'latency', ms: 42 }]);
    core.tick(now + 1000);
    expect(ping(core.take())).toBeDefined();
  });

  test('a PONG that answers nothing is ignored', () => {
    const { path } = attach();
    core.receive(path, Uint8Array.from([0x13, ...u64(1)]), now);
    expect(core.take()).toEqual([]);
  });

  test('silence makes a path suspect once, and closes it after thirty seconds', () => {
    const { path } = attach();
    const seen: string[] = [];
    for (let second = 0; second <= 30; second += 1) {
      core.tick(now + second * 1000);
      seen.push(...kinds(core.take()));
    }
    expect(seen).toEqual(['send', 'suspect', 'close']);
    expect(core.attached).toBe(false);
    core.receive(path, ack(0), now);
    expect(core.take()).toEqual([]);
  });

  test('silence is noticed within two seconds, whenever it begins', () => {
    for (const lastWord of [1, 250, 500, 999]) {
      core = new StreamCore(null);
      const { path } = attach();
      const start = now;
      const heard = start + 5_000 + lastWord;
      let suspectAt = 0;
      while (suspectAt === 0 && now < start + 30_000) {
        now = core.nextDeadline() ?? 0;
        // Answers come until the last word.
        core.tick(now);
        for (const effect of core.take()) {
          if (effect.type === 'suspect') suspectAt = now;
          if (effect.type === 'send' && effect.message[0] === 0x12 && now < heard) {
            core.receive(path, Uint8Array.from([0x13, ...effect.message.subarray(1)]), now);
          }
        }
        if (now < heard && (core.nextDeadline() ?? 0) > heard) core.receive(path, ack(0), heard);
        core.take();
      }
      expect(suspectAt - heard).toBeLessThanOrEqual(2_000);
      expect(suspectAt - heard).toBeGreaterThan(1_000);
    }
  });

  test('on a path with a long round trip more patience is taken', () => {
    const { path } = attach();
    core.tick(now);
    const message = ping(core.take()) ?? [];
    now += 700;
    core.receive(path, Uint8Array.from([0x13, ...message.slice(1)]), now);
    now = core.nextDeadline() ?? 0;
    core.tick(now);
    expect(ping(core.take())).toBeDefined();
    core.tick(now + 2_099);
    expect(kinds(core.take())).toEqual([]);
    core.tick(now + 2_100);
    expect(kinds(core.take())).toEqual(['suspect']);
  });

  /** When the path is suspected of being dead, if nothing more is heard from now on. */
  function suspectedAfter(): number {
    for (let waited = 0; waited < 60_000; waited += 100) {
      core.tick(now + waited);
      if (kinds(core.take()).includes('suspect')) return waited;
    }
    return Number.POSITIVE_INFINITY;
  }

  test('a path that was slow to be attached is given more patience, up to a limit', () => {
    for (const [took, patience] of [
      [100, 1_800],
      [1_500, 4_500],
      [9_000, 15_000],
    ] as const) {
      core = new StreamCore(null);
      const path = core.pathOpened(now);
      core.receive(path, challenge, now);
      now += took;
      core.receive(path, attached('new'), now);
      expect(suspectedAfter()).toBe(patience);
    }
  });

  test('patience after a slow answer goes back with each quick one', () => {
    const { path } = attach();
    const answers = [2_000, ...Array.from({ length: 10 }, () => 10)];
    for (const took of answers) {
      core.tick(now);
      const message = ping(core.take()) ?? [];
      core.receive(path, Uint8Array.from([0x13, ...message.slice(1)]), now + took);
      now += Math.max(took, 1_000);
      core.take();
    }
    // 0.8 to the tenth of three times two seconds is less than what any path is given.
    expect(suspectedAfter()).toBe(900);
  });

  test('after a sleep a PING goes out before anything is suspected', () => {
    attach();
    now += 20_000;
    core.tick(now);
    expect(kinds(core.take())).toEqual(['send']);
    core.tick(now + 799);
    expect(kinds(core.take())).toEqual([]);
    core.tick(now + 800);
    expect(kinds(core.take())).toEqual(['suspect']);
  });

  test('a sleep that the clock noticed has the path asked anew, and its silence forgotten', () => {
    const { path } = attach();
    core.tick(now);
    core.take();
    now += 20_000;
    core.woke(now, 0);
    core.tick(now);
    expect(kinds(core.take())).toEqual(['send']);
    core.receive(path, ack(0), now + 200);
    core.tick(now + 1_000);
    expect(kinds(core.take())).not.toContain('suspect');
  });

  test.each([
    ['the clock noticed', 40_000, 0],
    ['the clock did not notice', 100, 40_000],
  ])('after a sleep longer than agents wait, which %s, another path is wanted at once beside the last', (_what, noticed, missed) => {
    attach();
    core.tick(now);
    core.take();
    now += noticed;
    core.woke(now, missed);
    core.tick(now);
    expect(kinds(core.take())).toEqual(['send', 'suspect']);
    expect(core.attached).toBe(true);
  });

  test('a probe asks at once, unless an answer is awaited already', () => {
    const { path } = attach();
    core.tick(now);
    const message = ping(core.take()) ?? [];
    core.probe(now + 10);
    expect(core.take()).toEqual([]);
    core.receive(path, Uint8Array.from([0x13, ...message.slice(1)]), now + 20);
    core.take();
    core.probe(now + 30);
    expect(ping(core.take())).toBeDefined();
  });

  test('something heard on a suspect path is told once', () => {
    const { path } = attach();
    for (let second = 0; second <= 6; second += 1) core.tick(now + second * 1000);
    core.take();
    core.receive(path, ack(0), now + 6_500);
    core.receive(path, ack(0), now + 6_500);
    expect(kinds(core.take())).toEqual(['heard']);
  });

  test('anything heard ends the suspicion', () => {
    const { path } = attach();
    for (let second = 0; second <= 6; second += 1) core.tick(now + second * 1000);
    expect(kinds(core.take())).toContain('suspect');
    core.receive(path, ack(0), now + 6500);
    core.tick(now + 31_000);
    expect(kinds(core.take())).not.toContain('close');
  });
});
