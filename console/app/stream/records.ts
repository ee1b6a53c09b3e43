/**
 * The records inside the counted stream: a channel, a length, a payload. DATA frames cut them anywhere, so the decoder keeps
 * its place between pieces. Display payload is handed on as it arrives; clipboard and control objects are collected first.
 */

import { ProtocolError } from './frames';

export type Channel = 'display' | 'clipboard' | 'control';
const channelNumbers = { display: 1, clipboard: 2, control: 3 } as const;

const HEADER = 5;
const MAX_RECORD = 1_048_576;
/** The longest payload of one display record. */
export const MAX_DISPLAY_RECORD = 65_536;
/** The longest clipboard text, in bytes of UTF-8. */
export const MAX_CLIPBOARD_TEXT = 262_144;

export type RecordEvent =
  | { channel: 'display'; bytes: Uint8Array }
  | { channel: 'clipboard' | 'control'; value: unknown };

export function encodeRecord(channel: Channel, payload: Uint8Array): Uint8Array {
  const limit = channel === 'display' ? MAX_DISPLAY_RECORD : MAX_RECORD;
  if (payload.length > limit) throw new RangeError(`a ${channel} record of ${payload.length} bytes`);
  const record = new Uint8Array(HEADER + payload.length);
  record[0] = channelNumbers[channel];
  new DataView(record.buffer).setUint32(1, payload.length);
  record.set(payload, HEADER);
  return record;
}

export class RecordDecoder {
  private readonly header = new Uint8Array(HEADER);
  private headerFilled = 0;
  private channel: Channel | 'unknown' = 'unknown';
  /** Payload bytes of the current record that have not come yet. */
  private missing = 0;
  private collected: Uint8Array = new Uint8Array();
  private collectedFilled = 0;

  /** Takes the next piece of the counted stream and returns what it completes. */
  push(piece: Uint8Array): RecordEvent[] {
    const events: RecordEvent[] = [];
    let rest = piece;
    while (rest.length > 0) {
      if (this.headerFilled < HEADER) rest = this.takeHeader(rest, events);
      else rest = this.takePayload(rest, events);
    }
    return events;
  }

  private takeHeader(piece: Uint8Array, events: RecordEvent[]): Uint8Array {
    const taken = piece.subarray(0, HEADER - this.headerFilled);
    this.header.set(taken, this.headerFilled);
    this.headerFilled += taken.length;
    if (this.headerFilled === HEADER) this.begin(events);
    return piece.subarray(taken.length);
  }

  private begin(events: RecordEvent[]): void {
    const number = this.header[0];
    const length = new DataView(this.header.buffer).getUint32(1);
    this.channel = channelOf(number);
    const limit = this.channel === 'display' ? MAX_DISPLAY_RECORD : MAX_RECORD;
    if (length > limit) throw new ProtocolError(`a ${this.channel} record of ${length} bytes`);
    this.missing = length;
    this.collectedFilled = 0;
    this.collected = this.collects() ? new Uint8Array(length) : new Uint8Array();
    if (length === 0) this.finish(events);
  }

  private takePayload(piece: Uint8Array, events: RecordEvent[]): Uint8Array {
    const taken = piece.subarray(0, this.missing);
    this.missing -= taken.length;
    if (this.channel === 'display') {
      events.push({ channel: 'display', bytes: taken });
    } else if (this.collects()) {
      this.collected.set(taken, this.collectedFilled);
      this.collectedFilled += taken.length;
    }
    if (this.missing === 0) this.finish(events);
    return piece.subarray(taken.length);
  }

  private finish(events: RecordEvent[]): void {
    this.headerFilled = 0;
    if (this.channel === 'clipboard' || this.channel === 'control') {
      events.push({ channel: this.channel, value: parseObject(this.channel, this.collected) });
      this.collected = new Uint8Array();
    }
  }

  /** A channel that this release does not know is counted and skipped, so that a newer agent may open one. */
  private collects(): boolean {
    return this.channel === 'clipboard' || this.channel === 'control';
  }
}

function channelOf(number: number | undefined): Channel | 'unknown' {
  if (number === channelNumbers.display) return 'display';
  if (number === channelNumbers.clipboard) return 'clipboard';
  if (number === channelNumbers.control) return 'control';
  return 'unknown';
}

function parseObject(channel: Channel, payload: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload)) as unknown;
  } catch {
    throw new ProtocolError(`a ${channel} record that is not JSON`);
  }
}
