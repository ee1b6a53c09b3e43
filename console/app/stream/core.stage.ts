/** What an agent says, and how to read what a viewer's core answers: what the tests of `core` share. */

import type { Effect, PathId, StreamCore } from './core';
import { DATA_HEADER } from './frames';

export const nonce = new Uint8Array(32).fill(7);
export const streamId = new Uint8Array(16).fill(9);
export const key = new Uint8Array(65).fill(4);
export const signature = new Uint8Array(64).fill(5);
export const verdicts = { new: 0, resumed: 1, restarted: 2 };

export function u64(value: number): number[] {
  return Array.from({ length: 8 }, (_, i) => Math.floor(value / 256 ** (7 - i)) % 256);
}

export const challenge = Uint8Array.from([0x01, 1, ...nonce, ...streamId]);
export const attached = (verdict: keyof typeof verdicts, received = 0, window = 65_536) =>
  Uint8Array.from([0x03, verdicts[verdict], ...u64(received), ...u64(window).slice(4)]);
export const data = (offset: number, bytes: Uint8Array | number[]) => Uint8Array.from([0x10, ...u64(offset), ...bytes]);
export const ack = (received: number) => Uint8Array.from([0x11, ...u64(received)]);
export const notice = (code: number) => Uint8Array.from([0x14, 0, code, 0x6e, 0x6f]);
export const refused = (code: number) => Uint8Array.from([0x04, 0, code, 0x6e, 0x6f]);

export function sent(effects: Effect[]): number[][] {
  return effects.flatMap((effect) => (effect.type === 'send' ? [[...effect.message]] : []));
}

export function kinds(effects: Effect[]): string[] {
  return effects.map((effect) => effect.type);
}

export function display(effects: Effect[]): number[] {
  return effects.flatMap((effect) => (effect.type === 'display' ? [...effect.bytes] : []));
}

/** Opens a path and attaches it; returns what that caused after ATTACH. */
export function attachTo(
  core: StreamCore,
  now: number,
  verdict: keyof typeof verdicts = 'new',
  received = 0,
  window?: number,
): { path: PathId; effects: Effect[] } {
  const path = core.pathOpened(now);
  core.receive(path, challenge, now);
  core.take();
  core.receive(path, attached(verdict, received, window), now);
  return { path, effects: core.take() };
}

/** The bytes of the counted stream in the DATA frames among the effects. */
export function carried(effects: Effect[]): { offset: number; bytes: number[] }[] {
  return sent(effects)
    .filter((message) => message[0] === 0x10)
    .map((message) => ({
      offset: message.slice(1, DATA_HEADER).reduce((sum, byte) => sum * 256 + byte, 0),
      bytes: message.slice(DATA_HEADER),
    }));
}
