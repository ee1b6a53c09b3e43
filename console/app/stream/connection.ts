/**
 * The rim of the stream: WebSockets, tickets, the key and the clock around `StreamCore`.
 *
 * It keeps a stream attached for as long as the session lives. A path that breaks is replaced: a new
 * WebSocket, an ATTACH with a higher number, after a jittered backoff. A path that drains or looks dead is replaced while it
 * still runs. When the network changes, the machine wakes or somebody looks again, it does not wait. It stops for good when the agent
 * says that there is nothing to come back to, and says why.
 *
 *     connecting ──> live <──> silent
 *         │           │ ^        │
 *         │           v │        v
 *         │         reconnecting <        any ──> stopped
 *         └──> (signed out: the same, until somebody signs in)
 */

import { Alarm } from './alarm';
import { backoffMs } from './backoff';
import { DisplayChannel } from './channel';
import { type Effect, type PathId, StreamCore } from './core';
import type { OpenSocket, Opened } from './dial';
import type { Ticket } from './entries';
import { type StreamKey, createStreamKey } from './key';
import { Meter, type Rates } from './meter';
import { type Word, meaningOf } from './meaning';
import { Opener } from './opener';
import { NoTicket, type StopReason, type Trouble, troubleOf } from './trouble';
import { Wake } from './wake';

export type { Ticket } from './entries';
export type { Rates } from './meter';

/** A path that lived so long starts the backoff anew when it breaks. */
const SETTLED_AFTER_MS = 10_000;

export type StreamState =
  /** No path is attached, since that moment of the page's clock. `signedOut`: only somebody who signs in can help, or the way back. */
  | { name: 'connecting' | 'reconnecting'; since: number; trouble: Trouble | null; signedOut: boolean }
  | { name: 'live' }
  /** A path is attached, and nothing is heard on it; another is being opened. */
  | { name: 'silent'; since: number }
  | { name: 'stopped'; reason: StopReason; message: string };

export interface StreamListener {
  state(state: StreamState): void;
  /** A new display to hand to noVNC; any earlier one is over, but its picture may stay until this one has its own. */
  display(channel: DisplayChannel): void;
  clipboard(text: string): void;
  clipboardRefused(message: string): void;
  rates(rates: Rates): void;
}

export interface StreamOptions {
  askTicket(thumbprint: string | null): Promise<Ticket>;
  listener: StreamListener;
  /** Replaced in tests. */
  openSocket?: OpenSocket;
  createKey?: () => Promise<StreamKey | null>;
}

export class StreamConnection {
  private readonly openSocket: OpenSocket;
  private readonly createKey: () => Promise<StreamKey | null>;
  private readonly alarm = new Alarm(() => this.ring());
  private readonly paths = new Map<PathId, Opened>();

  private core = new StreamCore(null);
  private key: StreamKey | null = null;
  private channel: DisplayChannel | null = null;
  private state: StreamState = { name: 'connecting', since: performance.now(), trouble: null, signedOut: false };

  /** Counts key changes: what was started for an earlier stream is dropped when it completes. */
  private era = 0;
  private opener = this.newOpener();
  private attempt = 0;
  private attachedAt = 0;
  private retryAt: number | null = null;
  /** What the alarm is set for. */
  private due = Number.POSITIVE_INFINITY;
  /** The attached path drains or looks dead: wanted is another, beside it. */
  private wantsAnother = false;
  /** A path that is slow to be attached: another is opened beside it. */
  private slow: PathId | null = null;
  /** The entry of a path that looked dead: not the first to try. */
  private suspectUrl: string | null = null;
  private keyRefusals = 0;
  private revocations = 0;
  private over = false;

  private readonly meter = new Meter();
  private readonly wake = new Wake({
    networkChanged: () => this.networkChanged(),
    looked: () => this.looked(),
    woke: (missedMs) => this.woke(missedMs),
    visibilityChanged: () => this.rearm(),
    left: () => this.close(),
  });

  constructor(private readonly options: StreamOptions) {
    this.openSocket = options.openSocket ?? ((url, protocols) => new WebSocket(url, protocols));
    this.createKey = options.createKey ?? createStreamKey;
  }

  start(): void {
    this.wake.start();
    this.meter.start(performance.now());
    void this.begin();
  }

  /** Leaves the stream for good, without a word to the user; the session goes on. */
  close(): void {
    this.wake.stop();
    this.over = true;
    this.abandon();
    this.alarm.close();
    this.leaveStream();
    this.channel?.retire();
    this.channel?.close();
  }

  /** Starts over with a new key and a new display: after the display layer failed, or to take the stream back. */
  restart(): void {
    this.leaveStream();
    this.channel?.retire();
    this.settleBackoff();
    this.setBroken(null);
    void this.begin();
  }

  /** The server is back: do not sit the backoff out, nor come with all others at once. */
  hurry(): void {
    if (this.retryAt === null) return;
    this.retryAt = Math.min(this.retryAt, performance.now() + backoffMs(0));
    this.rearm();
  }

  /** Somebody has signed in again. */
  signedIn(): void {
    if (!this.opener.signedOut) return;
    this.opener.signedOut = false;
    if (this.state.name === 'stopped') return;
    if (!this.core.attached) this.setBroken(null);
    this.tryNow();
  }

  /** What was opened before may lead nowhere: another path, now, beside one that is there. */
  private networkChanged(): void {
    if (this.state.name === 'stopped') return;
    if (this.core.attached) this.wantsAnother = true;
    this.tryNow();
  }

  private looked(): void {
    this.core.probe(performance.now());
    if (!this.core.attached) this.tryNow();
    this.run();
  }

  private woke(missedMs: number): void {
    this.attempt = 0;
    this.core.woke(performance.now(), missedMs);
    if (!this.core.attached) this.tryNow();
    this.run();
  }

  /** Without the backoff, and beside whatever was begun before. */
  private tryNow(): void {
    this.attempt = 0;
    this.opener.hurry();
    this.scheduleOpen();
    if (this.retryAt !== null) this.retryAt = performance.now();
    this.rearm();
  }

  /** False when the text is too long or nothing is attached. */
  sendClipboard(text: string): boolean {
    if (!this.core.attached) return false;
    const sent = this.core.sendClipboard(text);
    this.run();
    return sent;
  }

  /** Tells the agent that nobody may look on any more. False when nothing is attached. */
  stopWatching(): boolean {
    if (!this.core.attached) return false;
    this.core.sendStopWatching();
    this.run();
    return true;
  }

  private async begin(): Promise<void> {
    this.abandon();
    const { era } = this;
    this.wantsAnother = false;
    const key = await this.createKey();
    if (era !== this.era) return;
    this.key = key;
    this.core = new StreamCore(key?.publicKey ?? null);
    this.scheduleOpen();
  }

  /** What was started for the stream until now comes to nothing. */
  private abandon(): void {
    this.era += 1;
    this.retryAt = null;
    const { signedOut } = this.opener;
    this.opener.cancel();
    // What leads back to a stream is of its key.
    this.opener = this.newOpener();
    this.opener.signedOut = signedOut;
  }

  private newOpener(): Opener {
    return new Opener({
      askTicket: () => this.options.askTicket(this.key?.thumbprint ?? null),
      openSocket: (url, protocols) => this.openSocket(url, protocols),
      changed: () => this.rearm(),
    });
  }

  private async openPath(): Promise<void> {
    this.retryAt = null;
    const { era } = this;
    try {
      const opened = await this.opener.open(this.suspectUrl);
      if (opened && era === this.era) this.adopt(opened);
      else opened?.socket.close();
    } catch (error) {
      if (error instanceof NoTicket) this.stop(error.reason, error.message);
      else this.pathLost(troubleOf(error));
    }
  }

  private adopt(opened: Opened): void {
    const { core } = this;
    const { socket } = opened;
    const path = core.pathOpened(performance.now());
    this.paths.set(path, opened);
    socket.onmessage = (event: MessageEvent<ArrayBuffer>) => {
      if (core !== this.core) return;
      this.meter.down += event.data.byteLength;
      core.receive(path, new Uint8Array(event.data), performance.now());
      this.run();
    };
    socket.onclose = () => {
      if (core !== this.core || !this.paths.delete(path)) return;
      core.pathClosed(path);
      this.pathLost(null);
      this.run();
    };
    this.run();
  }

  private ring(): void {
    const now = performance.now();
    this.wake.rang(now, this.due);
    this.core.tick(now);
    this.opener.tick(now);
    if (now >= this.meter.due) this.options.listener.rates(this.meter.read(now));
    if (this.retryAt !== null && now >= this.retryAt) void this.openPath();
    this.run();
  }

  /** Carries out what the core decided, then sets the alarm for what it waits for. */
  private run(): void {
    for (let effects = this.core.take(); effects.length > 0; effects = this.core.take()) {
      for (const effect of effects) this.perform(effect);
    }
    this.rearm();
  }

  private rearm(): void {
    if (this.over || this.state.name === 'stopped') return;
    const never = Number.POSITIVE_INFINITY;
    this.due = Math.min(this.meter.due, this.opener.due, this.core.nextDeadline() ?? never, this.retryAt ?? never);
    this.alarm.set(this.due - performance.now());
  }

  private perform(effect: Effect): void {
    const { listener } = this.options;
    switch (effect.type) {
      case 'send':
        return this.send(effect.path, effect.message);
      case 'sign':
        return void this.sign(effect.path, effect.text);
      case 'close':
        return this.closed(effect.path, effect.fault);
      case 'attached':
        return this.attached(effect.verdict !== 'resumed');
      case 'refused':
      case 'notice':
        return this.heed(effect);
      case 'suspect':
        this.suspectUrl = this.paths.get(effect.path)?.url ?? null;
        this.setState({ name: 'silent', since: performance.now() });
        return this.openAnother();
      case 'heard':
        return this.setState({ name: 'live' });
      case 'slow':
        return this.opensSlowly(effect.path);
      case 'display':
        return this.channel?.deliver(effect.bytes);
      case 'clipboard':
        return listener.clipboard(effect.text);
      case 'ready':
        return;
      case 'ended':
        return this.stop('ended', effect.reason);
      case 'latency':
        this.meter.latencyMs = effect.ms;
        return;
      case 'lost':
      case 'overflow':
        return this.restart();
    }
  }

  private send(path: PathId, message: Uint8Array): void {
    const socket = this.paths.get(path)?.socket;
    if (socket?.readyState !== WebSocket.OPEN) return;
    this.meter.up += message.length;
    socket.send(message);
  }

  private async sign(path: PathId, text: Uint8Array<ArrayBuffer>): Promise<void> {
    const core = this.core;
    const signature = await this.key?.sign(text);
    if (!signature || core !== this.core) return;
    core.signed(path, signature, performance.now());
    this.run();
  }

  private attached(fresh: boolean): void {
    this.opener.arrived();
    this.attachedAt = performance.now();
    this.retryAt = null;
    this.wantsAnother = false;
    this.suspectUrl = null;
    this.slow = null;
    this.keyRefusals = 0;
    this.meter.latencyMs = null;
    if (fresh) {
      this.channel?.retire();
      const core = this.core;
      this.channel = new DisplayChannel((bytes) => {
        core.sendDisplay(bytes);
        if (core === this.core) this.run();
      });
      this.options.listener.display(this.channel);
    }
    this.setState({ name: 'live' });
  }

  /** The core gave a path up. */
  private closed(path: PathId, fault: string | null): void {
    this.dropSocket(path);
    this.pathLost(fault === null ? null : { hop: 'host', message: fault });
  }

  private pathLost(trouble: Trouble | null): void {
    if (this.state.name === 'stopped' || this.over) return;
    if (!this.core.attached) {
      this.meter.latencyMs = null;
      this.settleBackoff();
      this.setBroken(trouble);
    }
    if (!this.core.attached || this.wantsAnother) this.scheduleOpen();
  }

  private openAnother(): void {
    this.wantsAnother = true;
    this.settleBackoff();
    this.scheduleOpen();
  }

  /** Another is opened beside it, and what answers first carries the stream. Of slow ones only the latest is waited for. */
  private opensSlowly(path: PathId): void {
    const { slow } = this;
    this.slow = path;
    if (slow !== null && this.paths.has(slow)) {
      this.core.pathClosed(slow);
      this.dropSocket(slow);
    }
    this.scheduleOpen();
  }

  /** Opens a path after a backoff, unless one is on its way already, or there is nothing to open one with. */
  private scheduleOpen(): void {
    const settled = (this.core.attached ? 1 : 0) + (this.slow !== null && this.paths.has(this.slow) ? 1 : 0);
    if (this.opener.busy || this.paths.size > settled || this.retryAt !== null || !this.opener.canOpen) return;
    // Only a page that opens is alone with its wish.
    const opens = this.attempt === 0 && this.channel === null;
    this.retryAt = performance.now() + (opens ? 0 : backoffMs(this.attempt));
    this.attempt += 1;
    this.rearm();
  }

  /** After a path that lived a while, the next failure is a new one and not the next of a row. */
  private settleBackoff(): void {
    if (this.attachedAt > 0 && performance.now() - this.attachedAt > SETTLED_AFTER_MS) {
      this.attempt = 0;
      this.revocations = 0;
    }
    this.attachedAt = 0;
  }

  private heed(word: Word): void {
    const hasLater = [...this.paths.keys()].some((path) => path > word.path);
    switch (meaningOf(word, hasLater)) {
      case 'stop':
        return this.stop(reasonOf(word), word.message);
      case 'revoked':
        return this.revoked(word.path, word.message);
      case 'newKey':
        // The grant was made for another key: once more with a new one, then it is not a matter of luck.
        this.keyRefusals += 1;
        return this.keyRefusals > 2 ? this.stop('protocol', word.message) : this.restart();
      case 'leave':
        return this.leave(word.path, word.code === 'superseded' ? null : word.message);
      case 'another':
        return this.openAnother();
      case 'clipboard':
        return this.options.listener.clipboardRefused(word.message);
      case 'nothing':
        return;
    }
  }

  /** The agent is done with a path. */
  private leave(path: PathId, message: string | null): void {
    this.core.pathClosed(path);
    this.dropSocket(path);
    this.pathLost(message === null ? null : { hop: 'host', message });
  }

  /**
   * What was granted until now is void. Whether more will be granted the control plane says: to nobody before signing in again, if it
   * was the login that ended. What is revoked again at once is not for this person.
   */
  private revoked(path: PathId, message: string): void {
    this.revocations += 1;
    if (this.revocations > 1) return this.stop('revoked', message);
    this.opener.forget();
    this.leave(path, null);
  }

  private stop(reason: StopReason, message: string): void {
    if (this.state.name === 'stopped') return;
    this.setState({ name: 'stopped', reason, message });
    this.abandon();
    this.alarm.clear();
    this.closeSockets();
    this.channel?.retire();
  }

  /** No path is attached: since when, and why, as far as is known. */
  private setBroken(trouble: Trouble | null): void {
    const since = 'since' in this.state ? this.state.since : performance.now();
    const known = 'trouble' in this.state ? this.state.trouble : null;
    const name = this.channel ? 'reconnecting' : 'connecting';
    this.setState({ name, since, trouble: trouble ?? known, signedOut: this.opener.signedOut });
  }

  private setState(state: StreamState): void {
    this.state = state;
    this.options.listener.state(state);
  }

  private dropSocket(path: PathId): void {
    const opened = this.paths.get(path);
    this.paths.delete(path);
    if (opened) release(opened.socket);
  }

  /** Tells the agent, as far as a path leads there, that nobody comes back to this stream. */
  private leaveStream(): void {
    this.core.leave();
    for (const effect of this.core.take()) {
      if (effect.type === 'send') this.send(effect.path, effect.message);
    }
    this.closeSockets();
  }

  /** Leaves every path; what the core still had to say goes nowhere. */
  private closeSockets(): void {
    this.core = new StreamCore(null);
    this.meter.latencyMs = null;
    for (const { socket } of this.paths.values()) release(socket);
    this.paths.clear();
  }
}

function reasonOf({ code }: Word): StopReason {
  return code === 'ended' || code === 'superseded' || code === 'idle' ? code : 'protocol';
}

function release(socket: WebSocket): void {
  socket.onmessage = socket.onclose = null;
  socket.close();
}
