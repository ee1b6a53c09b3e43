/** A connection whose sockets, tickets and time are the test's: what the tests of `connection` share. */

import { afterEach, beforeEach, vi } from 'vitest';
import type { DisplayChannel } from './channel';
import { StreamConnection, type StreamState, type Ticket } from './connection';

/** A WebSocket whose other end is the test. */
export class FakeSocket {
  binaryType = '';
  readyState = 0;
  protocol = 'meridian.v1';
  onopen: (() => void) | null = null;
  onclose: (() => void) | null = null;
  onerror: (() => void) | null = null;
  onmessage: ((event: { data: ArrayBuffer }) => void) | null = null;
  sent: number[][] = [];

  constructor(
    readonly url: string,
    readonly offered: string[],
  ) {}

  send(message: Uint8Array) {
    this.sent.push([...message]);
  }

  close() {
    this.readyState = 3;
  }

  open(protocol = 'meridian.v1') {
    this.readyState = 1;
    this.protocol = protocol;
    this.onopen?.();
  }

  say(...bytes: number[]) {
    this.onmessage?.({ data: Uint8Array.from(bytes).buffer });
  }

  break() {
    this.readyState = 3;
    this.onclose?.();
  }

  /** Challenge, then ATTACHED with the verdict. */
  attach(verdict: 0 | 1 | 2) {
    this.say(0x01, 1, ...new Array<number>(48).fill(7));
    this.say(0x03, verdict, ...new Array<number>(9).fill(0), 1, 0, 0);
  }
}

export let sockets: FakeSocket[];
export let states: StreamState[];
export let displays: DisplayChannel[];
export let ask: ReturnType<typeof vi.fn<(thumbprint: string | null) => Promise<Ticket>>>;
export let connection: StreamConnection;

export const ticket: Ticket = { url: 'ws://one', protocols: ['meridian.v1', 'meridian.ticket.x'], alternates: ['ws://two'], resume_protocols: [] };

beforeEach(() => {
  vi.useFakeTimers();
  // Every wait is nearly as long as it may be: nothing here hangs on luck.
  vi.spyOn(Math, 'random').mockReturnValue(0.99);
  sockets = [];
  states = [];
  displays = [];
  ask = vi.fn<(thumbprint: string | null) => Promise<Ticket>>(() => Promise.resolve(ticket));
  connection = new StreamConnection({
    askTicket: (thumbprint) => ask(thumbprint),
    openSocket: (url, protocols) => {
      const socket = new FakeSocket(url, protocols);
      sockets.push(socket);
      return socket as unknown as WebSocket;
    },
    createKey: () => Promise.resolve(null),
    listener: {
      state: (state) => states.push(state),
      display: (channel) => displays.push(channel),
      clipboard: () => undefined,
      clipboardRefused: () => undefined,
      rates: () => undefined,
    },
  });
});

afterEach(() => {
  connection.close();
  vi.restoreAllMocks();
  vi.useRealTimers();
});

export function last<T>(list: T[]): T {
  const item = list.at(-1);
  if (item === undefined) throw new Error('nothing yet');
  return item;
}

export async function settle(ms = 20) {
  await vi.advanceTimersByTimeAsync(ms);
}

export function pageHide(persisted: boolean): Event {
  return Object.assign(new Event('pagehide'), { persisted });
}

/** The last socket opens, and its agent answers the viewer so. */
export async function attach(verdict: 0 | 1 | 2) {
  last(sockets).open();
  await settle();
  last(sockets).attach(verdict);
}

export async function goLive() {
  connection.start();
  await settle();
  await attach(0);
  await settle();
}
