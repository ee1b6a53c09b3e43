/**
 * The rim of the stream: WebSockets, tickets, the key and the clock around `StreamCore`.
 *
 * It keeps a stream attached for as long as the session lives. A path that breaks is replaced: a new ticket, a new
 * WebSocket, an ATTACH with a higher number, after a jittered backoff. A path that drains or looks dead is replaced while it
 * still runs. It stops for good when the agent says that there is nothing to come back to, and says why.
 *
 *     connecting ──> live <──> reconnecting
 *          └──────────┴────────────┴──> stopped
 */

import { Alarm } from './alarm';
import { backoffMs } from './backoff';
import { DisplayChannel } from './channel';
import { type Effect, type PathId, StreamCore } from './core';
import { Dial, type OpenSocket, type Opened } from './dial';
import { type Ticket, WayBack, entries } from './entries';
import type { Code } from './frames';
import { type StreamKey, createStreamKey } from './key';
import { Meter, type Rates } from './meter';

export type { Ticket } from './entries';
export type { Rates } from './meter';

/** A path that lived so long starts the backoff anew when it breaks. */
const SETTLED_AFTER_MS = 10_000;
/** A control plane that is silent for longer does not keep a stream from its way back. */
const TICKET_WITHIN_MS = 4_000;

/** Why a stream will not come back by itself. */
export type StopReason = 'ended' | 'superseded' | 'revoked' | 'protocol' | 'unavailable';

/** Thrown by `askTicket` when asking again is pointless. */
export class NoTicket extends Error {
  override name = 'NoTicket';
  constructor(
    readonly reason: StopReason,
    message: string,
  ) {
    super(message);
  }
}

export type StreamState =
  | { name: 'connecting' | 'reconnecting'; trouble: string | null }
  | { name: 'live' }
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

/** What the agent said of a path. */
interface Word {
  path: PathId;
  code: Code;
  message: string;
  overtaken: boolean;
}

export class StreamConnection {
  private readonly openSocket: OpenSocket;
  private readonly createKey: () => Promise<StreamKey | null>;
  private readonly alarm = new Alarm(() => this.tick());
  private readonly paths = new Map<PathId, Opened>();

  private core = new StreamCore(null);
  private key: StreamKey | null = null;
  private channel: DisplayChannel | null = null;
  private state: StreamState = { name: 'connecting', trouble: null };

  /** Counts key changes: what was started for an earlier stream is dropped when it completes. */
  private era = 0;
  private opening = false;
  private dial: Dial | null = null;
  /** How long a ticket is waited for. */
  private patience: { until: number; giveUp: () => void } | null = null;
  private attempt = 0;
  private attachedAt = 0;
  private retryAt: number | null = null;
  private wayBack = new WayBack();
  /** The attached path drains or looks dead: wanted is another, beside it. */
  private wantsAnother = false;
  /** The entry of a path that looked dead: not the first to try. */
  private suspectUrl: string | null = null;
  private keyRefusals = 0;
  private over = false;

  private readonly meter = new Meter();

  constructor(private readonly options: StreamOptions) {
    this.openSocket = options.openSocket ?? ((url, protocols) => new WebSocket(url, protocols));
    this.createKey = options.createKey ?? createStreamKey;
  }

  start(): void {
    window.addEventListener('online', this.hurry);
    document.addEventListener('visibilitychange', this.rearm);
    window.addEventListener('pagehide', this.hide);
    this.meter.start(performance.now());
    void this.begin();
  }

  /** Leaves the stream for good, without a word to the user; the session goes on. */
  close(): void {
    window.removeEventListener('online', this.hurry);
    document.removeEventListener('visibilitychange', this.rearm);
    window.removeEventListener('pagehide', this.hide);
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
    this.setState({ name: this.channel ? 'reconnecting' : 'connecting', trouble: null });
    void this.begin();
  }

  /** The network or the server is back: do not sit the backoff out. */
  readonly hurry = (): void => {
    if (this.retryAt === null) return;
    this.retryAt = performance.now();
    this.rearm();
  };

  /** The page goes. One that the browser keeps may be shown again, with its stream; any other will not come back to it. */
  private readonly hide = (event: PageTransitionEvent): void => {
    if (!event.persisted) this.close();
  };

  /** False when the text is too long or nothing is attached. */
  sendClipboard(text: string): boolean {
    if (!this.core.attached) return false;
    const sent = this.core.sendClipboard(text);
    this.run();
    return sent;
  }

  private async begin(): Promise<void> {
    this.abandon();
    const { era } = this;
    this.wantsAnother = false;
    // What leads back to a stream is of its key.
    this.wayBack = new WayBack();
    const key = await this.createKey();
    if (era !== this.era) return;
    this.key = key;
    this.core = new StreamCore(key?.publicKey ?? null);
    this.scheduleOpen();
  }

  /** What was started for the stream until now comes to nothing. */
  private abandon(): void {
    this.era += 1;
    this.opening = false;
    this.retryAt = null;
    this.dial?.cancel();
    this.dial = null;
    this.patience = null;
  }

  private async openPath(): Promise<void> {
    if (this.opening || this.state.name === 'stopped') return;
    this.opening = true;
    this.retryAt = null;
    const era = this.era;
    try {
      const ticket = this.wayBack.next() ?? (await this.askTicket());
      if (era !== this.era) return;
      this.dial = new Dial(entries(ticket, this.suspectUrl), ticket.protocols, {
        openSocket: this.openSocket,
        now: () => performance.now(),
        changed: this.rearm,
        random: Math.random,
      });
      this.rearm();
      const opened = await this.dial.opened;
      if (era === this.era) this.adopt(opened);
      else opened.socket.close();
    } catch (error) {
      if (era !== this.era) return;
      this.opening = false;
      this.openFailed(error);
    }
  }

  private async askTicket(): Promise<Ticket> {
    const { wayBack } = this;
    const asking = this.options.askTicket(this.key?.thumbprint ?? null).then((ticket) => {
      wayBack.remember(ticket);
      return ticket;
    });
    return wayBack.exists ? this.within(TICKET_WITHIN_MS, asking) : asking;
  }

  /** What a promise comes to, or an error when that takes too long. */
  private within<T>(limitMs: number, promise: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const giveUp = () => {
        this.patience = null;
        reject(new Error('Meridian does not answer.'));
      };
      const patience = { until: performance.now() + limitMs, giveUp };
      this.patience = patience;
      this.rearm();
      promise.then(resolve, reject).finally(() => {
        if (this.patience === patience) this.patience = null;
      });
    });
  }

  private adopt(opened: Opened): void {
    const { core } = this;
    const { socket } = opened;
    const path = core.pathOpened(performance.now());
    this.opening = false;
    this.dial = null;
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

  private openFailed(error: unknown): void {
    if (error instanceof NoTicket) this.stop(error.reason, error.message);
    else this.pathLost(error instanceof Error ? error.message : null);
  }

  private tick(): void {
    const now = performance.now();
    this.core.tick(now);
    if (now >= this.meter.due) this.options.listener.rates(this.meter.read(now));
    this.dial?.tick(now);
    if (this.patience && now >= this.patience.until) this.patience.giveUp();
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

  private readonly rearm = (): void => {
    if (this.over || this.state.name === 'stopped') return;
    const due = [this.meter.due, this.dial?.due ?? Number.POSITIVE_INFINITY, this.patience?.until ?? Number.POSITIVE_INFINITY];
    const deadline = this.core.nextDeadline();
    if (deadline !== null) due.push(deadline);
    if (this.retryAt !== null) due.push(this.retryAt);
    this.alarm.set(Math.min(...due) - performance.now());
  };

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
        return this.refused(effect);
      case 'notice':
        return this.noticed(effect);
      case 'suspect':
        this.suspectUrl = this.paths.get(effect.path)?.url ?? null;
        return this.openAnother();
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
    this.wayBack.arrived();
    this.attachedAt = performance.now();
    this.retryAt = null;
    this.wantsAnother = false;
    this.suspectUrl = null;
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
    this.pathLost(fault);
  }

  private pathLost(trouble: string | null): void {
    if (this.state.name === 'stopped') return;
    if (!this.core.attached) {
      this.meter.latencyMs = null;
      this.settleBackoff();
      this.setState({ name: this.channel ? 'reconnecting' : 'connecting', trouble });
    }
    if (!this.core.attached || this.wantsAnother) this.scheduleOpen();
  }

  private openAnother(): void {
    this.wantsAnother = true;
    this.settleBackoff();
    this.scheduleOpen();
  }

  /** Opens a path after a backoff, unless one is on its way already. */
  private scheduleOpen(): void {
    const handshakes = this.paths.size - (this.core.attached ? 1 : 0);
    if (this.opening || handshakes > 0 || this.retryAt !== null) return;
    // Only a page that opens is alone with its wish.
    const opens = this.attempt === 0 && this.channel === null;
    this.retryAt = performance.now() + (opens ? 0 : backoffMs(this.attempt));
    this.attempt += 1;
    this.rearm();
  }

  /** After a path that lived a while, the next failure is a new one and not the next of a row. */
  private settleBackoff(): void {
    if (this.attachedAt > 0 && performance.now() - this.attachedAt > SETTLED_AFTER_MS) this.attempt = 0;
    this.attachedAt = 0;
  }

  private refused({ path, code, message, overtaken }: Word): void {
    switch (code) {
      case 'superseded':
        if (!overtaken) return this.stop('superseded', message);
        this.dropSocket(path);
        return this.pathLost(null);
      case 'ended':
      case 'revoked':
      case 'protocol':
        return this.stop(code, message);
      case 'key':
        // The grant was made for another key: once more with a new one, then it is not a matter of luck.
        this.keyRefusals += 1;
        return this.keyRefusals > 2 ? this.stop('protocol', message) : this.restart();
      case 'display_unavailable':
      case 'draining':
      case 'clipboard_refused':
      case 'unknown':
        this.dropSocket(path);
        return this.pathLost(message);
    }
  }

  private noticed({ path, code, message, overtaken }: Word): void {
    switch (code) {
      case 'superseded':
        // By this page itself, where it has attached on a later path or is about to: whoever has another key has another stream.
        if (overtaken) return this.leave(path, null);
        if (![...this.paths.keys()].some((id) => id > path)) this.stop('superseded', message);
        return;
      case 'ended':
      case 'revoked':
        return this.stop(code, message);
      case 'draining':
        return this.openAnother();
      case 'clipboard_refused':
        return this.options.listener.clipboardRefused(message);
      case 'display_unavailable':
        return this.leave(path, message);
      case 'protocol':
      case 'key':
      case 'unknown':
        return;
    }
  }

  /** The agent is done with a path. */
  private leave(path: PathId, trouble: string | null): void {
    this.core.pathClosed(path);
    this.dropSocket(path);
    this.pathLost(trouble);
  }

  private stop(reason: StopReason, message: string): void {
    if (this.state.name === 'stopped') return;
    this.setState({ name: 'stopped', reason, message });
    this.abandon();
    this.alarm.clear();
    this.closeSockets();
    this.channel?.retire();
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

function release(socket: WebSocket): void {
  socket.onmessage = socket.onclose = null;
  socket.close();
}
