import { expect, test } from 'vitest';
import { ROUNDS, type Ways, distance, measure } from './rounds';

const never = new AbortController().signal;

/** Each round takes as long as the list says; null is a round that fails. */
function world(lengths: (number | null)[]) {
  let clock = 1_000;
  const asked: string[] = [];
  const ways: Ways = {
    now: () => clock,
    limit: () => never,
    ask: (address) => {
      asked.push(address);
      const length = lengths[asked.length - 1] ?? null;
      if (length === null) return Promise.reject(new TypeError('no answer'));
      clock += length;
      return Promise.resolve();
    },
  };
  return { ways, asked };
}

test('an entry is asked several times, one after the other', async () => {
  const { ways, asked } = world([90, 12, 11, 13, 12, 99]);
  expect(await measure('https://a/probe', never, ways)).toEqual([90, 12, 11, 13, 12]);
  expect(asked).toEqual(new Array(ROUNDS).fill('https://a/probe'));
});

test('whoever does not answer is not asked again', async () => {
  const { ways, asked } = world([90, 12, null, 13]);
  expect(await measure('https://a/probe', never, ways)).toEqual([90, 12]);
  expect(asked).toHaveLength(3);
});

test('a page that is left measures nothing to the end', async () => {
  const left = new AbortController();
  const { ways } = world([10, 10, 10, 10, 10]);
  const { ask } = ways;
  let rounds = 0;
  ways.ask = async (address, signal) => {
    await ask(address, signal);
    rounds += 1;
    if (rounds === 2) {
      left.abort();
      throw new TypeError('aborted');
    }
  };
  await expect(measure('https://a/probe', left.signal, ways)).rejects.toThrow();
  expect(rounds).toBe(2);
});

test('the shortest round is the distance, and two rounds are none', () => {
  expect(distance([90, 12, 11])).toBe(11);
  expect(distance([90, 12])).toBeNull();
});
