/**
 * The viewer's side of one `meridian.v1` stream, without sockets, clocks or keys: messages and times go in, effects come out.
 *
 * A stream outlives the paths (WebSockets) it runs over. Each path goes through
 *
 *     challenge ──> signing ──> attaching ──> attached ──> closed
 *
 * and at most one path is attached: when a later one is, the earlier is closed. At most one ATTACH waits for its answer: the next
 * one gives up the path of the last. The counted streams, both ways, belong to the stream: on RESUMED they go on, on NEW and
 * RESTARTED they begin at 0 and the display layer above begins anew.
 *
 * A path whose peer breaks a rule is closed with a `fault`; the caller decides whether to open another. Where the counts
 * themselves are at odds, no other path can mend them, and the stream is `lost`.
 */

import {
  type AgentFrame,
  type Code,
  ProtocolError,
  type Verdict,
  attachText,
  decodeFrame,
  encodeAck,
  encodeAttach,
  encodeLeave,
  encodePing,
  encodePong,
} from './frames';
import { Outbox } from './outbox';
import { MAX_CLIPBOARD_TEXT, MAX_DISPLAY_RECORD, RecordDecoder, type RecordEvent, encodeRecord } from './records';

/** Acknowledge at least this often; the wire format asks for every 32 KiB. */
const ACK_EVERY = 16_384;
/** And within this time of the last byte; the wire format asks for 100 ms. */
const ACK_WITHIN_MS = 40;
/** The agent answers an opened path, and a sent ATTACH, within this time. */
const ATTACH_WITHIN_MS = 10_000;
const PING_EVERY_MS = 1_000;
/** Nothing heard for so long although a PING is out: worth opening another path beside this one. */
const SUSPECT_AFTER_MS = 1_800;
/** An answer to a PING is late after this time, or after three round trips where those take longer. */
const PONG_WITHIN_MS = 800;
/** And then in any case. */
const PONG_WITHIN_AT_MOST_MS = 15_000;
/**
 * Of a long round trip, so much still counts at each later one. Paths are slow while a relay that died is replaced under thousands of
 * streams; who takes them for dead then and opens others makes them slower.
 */
const ROUND_TRIP_KEPT = 0.8;
/** A path that is being opened is slow when a step takes so long: worth opening another beside it. */
const SLOW_AFTER_MS = 2_500;
/** Nothing heard for so long: the path is dead. */
const SILENT_AFTER_MS = 30_000;
/** What may wait to be sent or acknowledged; more means that the other side has stopped reading. */
const MAX_KEPT = 4 * 1_048_576;

export type PathId = number;

export type Effect =
  | { type: 'send'; path: PathId; message: Uint8Array }
  /** Sign `text` with the stream's key, then call `signed`. */
  | { type: 'sign'; path: PathId; text: Uint8Array<ArrayBuffer> }
  | { type: 'close'; path: PathId; fault: string | null }
  /** The path carries the stream from here on. Unless resumed, the display layer starts over. */
  | { type: 'attached'; path: PathId; verdict: Verdict }
  /** `overtaken`: this viewer has sent a later ATTACH on another path. */
  | { type: 'refused'; path: PathId; code: Code; message: string; overtaken: boolean }
  | { type: 'notice'; path: PathId; code: Code; message: string; overtaken: boolean }
  /** Nothing is heard on the attached path. */
  | { type: 'suspect'; path: PathId }
  /** Something was heard on a path that was suspect. */
  | { type: 'heard' }
  /** A path is slow to be attached. */
  | { type: 'slow'; path: PathId }
  | { type: 'display'; bytes: Uint8Array }
  | { type: 'clipboard'; text: string }
  | { type: 'ready' }
  | { type: 'ended'; reason: string }
  | { type: 'latency'; ms: number }
  /** The counts of both sides do not fit: the stream cannot go on. */
  | { type: 'lost' }
  /** More was written than the other side takes: the stream cannot go on. */
  | { type: 'overflow' };

type Phase = 'challenge' | 'signing' | 'attaching' | 'attached';

interface Path {
  phase: Phase;
  /** When the current phase must be over. */
  deadline: number;
  /** When it is slow, or null once that was said. */
  slowAt: number | null;
  attachNumber: number;
  /** When ATTACH was sent. */
  sentAt: number;
  /** What ATTACH says was received; signed, so fixed when the challenge comes. */
  received: number;
}

export class StreamCore {
  private readonly paths = new Map<PathId, Path>();
  private lastPath: PathId = 0;
  private lastAttach = 0;
  private current: PathId | null = null;

  private outbox = new Outbox();
  private window = 0;

  private records = new RecordDecoder();
  private received = 0;
  private acknowledged = 0;
  private ackDue: number | null = null;

  private ping: { token: bigint; at: number } | null = null;
  private pingDue = 0;
  private heardAt = 0;
  /** The longest lately, of this path and those before it. */
  private roundTrip = 0;
  private suspected = false;

  private effects: Effect[] = [];

  /** `key` is the uncompressed public point that the ticket is bound to, or null when it is bound to none. */
  constructor(private readonly key: Uint8Array | null) {}

  /** The effects since the last call, in order. */
  take(): Effect[] {
    const effects = this.effects;
    this.effects = [];
    return effects;
  }

  get attached(): boolean {
    return this.current !== null;
  }

  pathOpened(now: number): PathId {
    this.lastPath += 1;
    this.paths.set(this.lastPath, {
      phase: 'challenge',
      deadline: now + ATTACH_WITHIN_MS,
      slowAt: now + SLOW_AFTER_MS,
      attachNumber: 0,
      sentAt: now,
      received: 0,
    });
    return this.lastPath;
  }

  pathClosed(id: PathId): void {
    this.paths.delete(id);
    if (this.current === id) this.detach();
  }

  /**
   * The viewer goes for good: it says so wherever the agent may hold the stream by now, which an ATTACH that waits for its answer may
   * have changed, and closes every path. Without the word the agent would keep the workspace's side open for a viewer that never comes.
   */
  leave(): void {
    for (const [id, { phase }] of this.paths) {
      if (phase === 'attaching' || phase === 'attached') this.send(id, encodeLeave());
      this.close(id, null);
    }
  }

  receive(id: PathId, message: Uint8Array, now: number): void {
    const path = this.paths.get(id);
    if (!path) return;
    let counts = false;
    try {
      const frame = decodeFrame(message);
      counts = frame.kind === 'attached' ? path.phase === 'attaching' : id === this.current;
      this.handle(id, path, frame, now);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.close(id, `The workspace's side sent ${error.message}.`);
      if (counts) this.effects.push({ type: 'lost' });
    }
  }

  signed(id: PathId, signature: Uint8Array, now: number): void {
    const path = this.paths.get(id);
    if (path?.phase === 'signing') this.attach(id, path, signature, now);
  }

  sendDisplay(bytes: Uint8Array): void {
    for (let from = 0; from < bytes.length; from += MAX_DISPLAY_RECORD) {
      this.write(encodeRecord('display', bytes.subarray(from, from + MAX_DISPLAY_RECORD)));
    }
  }

  /** False when the text is too long to be sent. */
  sendClipboard(text: string): boolean {
    if (new TextEncoder().encode(text).length > MAX_CLIPBOARD_TEXT) return false;
    this.write(encodeRecord('clipboard', new TextEncoder().encode(JSON.stringify({ type: 'text', text }))));
    return true;
  }

  /** The person wants nobody to look on any more. The agent heeds it by itself, whatever the control plane does. */
  sendStopWatching(): void {
    this.write(encodeRecord('control', new TextEncoder().encode(JSON.stringify({ type: 'stop_watching' }))));
  }

  /** When `tick` must be called next, or null when nothing is timed. */
  nextDeadline(): number | null {
    const opening = [...this.paths.values()].filter((path) => path.phase !== 'attached');
    const deadlines = opening.map(({ slowAt, deadline }) => slowAt ?? deadline);
    if (this.current !== null) {
      deadlines.push(this.pingDue);
      if (this.ackDue !== null) deadlines.push(this.ackDue);
      const suspectDue = this.suspectDue();
      if (suspectDue !== null) deadlines.push(suspectDue);
    }
    return deadlines.length === 0 ? null : Math.min(...deadlines);
  }

  tick(now: number): void {
    for (const [id, path] of this.paths) {
      if (path.phase === 'attached') continue;
      if (now >= path.deadline) {
        this.close(id, 'The workspace’s host did not answer in time.');
      } else if (path.slowAt !== null && now >= path.slowAt) {
        path.slowAt = null;
        this.effects.push({ type: 'slow', path: id });
      }
    }
    if (this.current === null) return;
    if (this.ackDue !== null && now >= this.ackDue) this.acknowledge(this.current);
    const suspectDue = this.suspectDue();
    if (suspectDue !== null && now >= suspectDue) {
      this.suspect(this.current);
    }
    if (now >= this.pingDue) this.testPath(this.current, now);
  }

  /** Whether the path still lives is to be known at once: somebody is here again. */
  probe(now: number): void {
    if (this.current === null || this.ping) return;
    this.sendPing(this.current, now);
    this.pingDue = now + PING_EVERY_MS;
  }

  /**
   * Time went by unnoticed, and `missedMs` of it by the caller's clock too. That nothing was heard in it says little, since nobody listened, so
   * the path is asked anew. But an agent that heard nothing for so long has given the path up.
   */
  woke(now: number, missedMs: number): void {
    if (this.current === null) return;
    const isOver = now - this.heardAt + missedMs >= SILENT_AFTER_MS;
    this.heardAt = Math.max(this.heardAt, now - SUSPECT_AFTER_MS);
    this.sendPing(this.current, now);
    this.pingDue = now + PING_EVERY_MS;
    if (isOver) this.suspect(this.current);
  }

  private suspect(id: PathId): void {
    if (this.suspected) return;
    this.suspected = true;
    this.effects.push({ type: 'suspect', path: id });
  }

  private sendPing(id: PathId, now: number): void {
    this.ping = { token: BigInt(Math.round(now)), at: now };
    this.send(id, encodePing(this.ping.token));
  }

  /** When silence makes the path suspect: counted from the last word, and from the PING, which may have gone out late. */
  private suspectDue(): number | null {
    if (!this.ping || this.suspected) return null;
    const patience = Math.min(Math.max(PONG_WITHIN_MS, 3 * this.roundTrip), PONG_WITHIN_AT_MOST_MS);
    const answerDue = this.ping.at + patience;
    return Math.max(this.heardAt + SUSPECT_AFTER_MS, answerDue);
  }

  private testPath(id: PathId, now: number): void {
    if (now - this.heardAt >= SILENT_AFTER_MS) {
      this.close(id, 'The connection went silent.');
      return;
    }
    // One PING at a time: a late answer is still an answer, and says how late.
    if (!this.ping) this.sendPing(id, now);
    this.pingDue = now + PING_EVERY_MS;
  }

  private handle(id: PathId, path: Path, frame: AgentFrame, now: number): void {
    if (id === this.current) {
      this.heardAt = now;
      if (this.suspected) this.effects.push({ type: 'heard' });
      this.suspected = false;
    }
    switch (frame.kind) {
      case 'challenge':
        return this.challenged(id, path, frame, now);
      case 'attached':
        return this.attachedBy(id, path, frame, now);
      case 'refused':
      case 'notice': {
        const { kind, code, message } = frame;
        this.effects.push({ type: kind, path: id, code, message, overtaken: path.attachNumber < this.lastAttach });
        if (kind === 'refused') this.close(id, null);
        return;
      }
      case 'ping':
        return this.send(id, encodePong(frame.token));
      case 'pong':
        return this.ponged(frame.token, now);
      case 'data':
        if (id !== this.current) throw new ProtocolError('DATA before ATTACHED');
        return this.counted(id, frame, now);
      case 'ack':
        if (id !== this.current) throw new ProtocolError('an ACK before ATTACHED');
        this.outbox.acknowledge(frame.received);
        return this.pump();
    }
  }

  private challenged(id: PathId, path: Path, frame: { nonce: Uint8Array; streamId: Uint8Array }, now: number): void {
    if (path.phase !== 'challenge') throw new ProtocolError('a second CHALLENGE');
    for (const [other, { phase }] of this.paths) {
      if (phase === 'signing' || phase === 'attaching') this.close(other, null);
    }
    this.lastAttach += 1;
    path.attachNumber = this.lastAttach;
    path.received = this.received;
    if (!this.key) {
      this.attach(id, path, null, now);
      return;
    }
    path.phase = 'signing';
    this.effects.push({ type: 'sign', path: id, text: attachText(frame, path.attachNumber, path.received) });
  }

  private attach(id: PathId, path: Path, signature: Uint8Array | null, now: number): void {
    path.phase = 'attaching';
    path.sentAt = now;
    path.deadline = now + ATTACH_WITHIN_MS;
    path.slowAt = now + SLOW_AFTER_MS;
    const { attachNumber, received } = path;
    this.send(id, encodeAttach({ attachNumber, received, key: this.key, signature }));
  }

  private attachedBy(
    id: PathId,
    path: Path,
    frame: { verdict: Verdict; received: number; window: number },
    now: number,
  ): void {
    if (path.phase !== 'attaching') throw new ProtocolError('ATTACHED out of turn');
    const resumed = frame.verdict === 'resumed';
    if (resumed) this.outbox.resumeAt(frame.received);
    else this.restart();
    path.phase = 'attached';
    const before = this.current;
    this.current = id;
    this.window = frame.window;
    this.heardAt = now;
    this.suspected = false;
    this.ping = null;
    this.pingDue = now;
    this.tookRoundTrip(now - path.sentAt);
    this.ackDue = null;
    if (before !== null) this.close(before, null);
    this.effects.push({ type: 'attached', path: id, verdict: frame.verdict });
    // What came on the path before since ATTACH was signed need not be sent again.
    if (resumed && this.received > path.received) this.acknowledge(id);
    this.acknowledged = this.received;
    this.pump();
  }

  private restart(): void {
    this.outbox = new Outbox();
    this.records = new RecordDecoder();
    this.received = 0;
    this.acknowledged = 0;
    this.ackDue = null;
  }

  private ponged(token: bigint, now: number): void {
    if (this.ping?.token !== token) return;
    const ms = now - this.ping.at;
    this.tookRoundTrip(ms);
    this.effects.push({ type: 'latency', ms });
    this.ping = null;
  }

  private tookRoundTrip(ms: number): void {
    this.roundTrip = Math.max(ms, ROUND_TRIP_KEPT * this.roundTrip);
  }

  private counted(id: PathId, frame: { offset: number; bytes: Uint8Array }, now: number): void {
    if (frame.offset > this.received) throw new ProtocolError('DATA with a gap before it');
    const fresh = frame.bytes.subarray(this.received - frame.offset);
    this.received += fresh.length;
    for (const event of this.records.push(fresh)) this.record(event);
    if (this.received - this.acknowledged >= ACK_EVERY) this.acknowledge(id);
    else this.ackDue ??= now + ACK_WITHIN_MS;
  }

  private acknowledge(id: PathId): void {
    this.ackDue = null;
    this.acknowledged = this.received;
    this.send(id, encodeAck(this.received));
  }

  private record(event: RecordEvent): void {
    if (event.channel === 'display') {
      this.effects.push({ type: 'display', bytes: event.bytes });
      return;
    }
    const value = isObject(event.value) ? event.value : {};
    if (event.channel === 'clipboard') {
      if (value.type === 'text' && typeof value.text === 'string') {
        this.effects.push({ type: 'clipboard', text: value.text });
      }
    } else if (value.type === 'ready') {
      this.effects.push({ type: 'ready' });
    } else if (value.type === 'ended') {
      this.effects.push({ type: 'ended', reason: typeof value.reason === 'string' ? value.reason : '' });
    }
  }

  private write(record: Uint8Array): void {
    if (this.outbox.kept + record.length > MAX_KEPT) {
      this.effects.push({ type: 'overflow' });
      return;
    }
    this.outbox.write(record);
    this.pump();
  }

  /** An acknowledgement that waits goes with the bytes: every hop is awakened once for both. */
  private pump(): void {
    if (this.current === null) return;
    for (let frame = this.outbox.nextFrame(this.window); frame; frame = this.outbox.nextFrame(this.window)) {
      if (this.received > this.acknowledged) this.acknowledge(this.current);
      this.send(this.current, frame);
    }
  }

  private send(path: PathId, message: Uint8Array): void {
    this.effects.push({ type: 'send', path, message });
  }

  private close(id: PathId, fault: string | null): void {
    if (!this.paths.delete(id)) return;
    if (this.current === id) this.detach();
    this.effects.push({ type: 'close', path: id, fault });
  }

  private detach(): void {
    this.current = null;
    this.ping = null;
    this.ackDue = null;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
