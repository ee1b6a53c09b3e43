/**
 * The viewer's half of the counted stream on its way out: bytes that were written and are not acknowledged yet, kept in
 * order so that a resumed path can send again from any of them. Offsets never fall but when the stream restarts.
 *
 * Invariant: `acknowledged <= sent <= written`.
 */

import { DATA_HEADER, MAX_MESSAGE, ProtocolError, dataFrame } from './frames';

const MAX_PIECE = MAX_MESSAGE - DATA_HEADER;

export class Outbox {
  private chunks: { offset: number; bytes: Uint8Array }[] = [];
  private acknowledged = 0;
  private sent = 0;
  private written = 0;

  /** Bytes kept: written and not acknowledged. */
  get kept(): number {
    return this.written - this.acknowledged;
  }

  write(bytes: Uint8Array): void {
    this.chunks.push({ offset: this.written, bytes });
    this.written += bytes.length;
  }

  /** The next DATA frame that the window allows, or null. */
  nextFrame(window: number): Uint8Array | null {
    const allowed = Math.min(this.acknowledged + window, this.written) - this.sent;
    if (allowed <= 0) return null;
    const length = Math.min(allowed, MAX_PIECE);
    const frame = dataFrame(this.sent, length);
    this.copy(this.sent, frame.subarray(DATA_HEADER));
    this.sent += length;
    return frame;
  }

  acknowledge(received: number): void {
    if (received > this.sent) throw new ProtocolError('an ACK of bytes that were never sent');
    if (received <= this.acknowledged) return;
    this.acknowledged = received;
    const first = this.chunks.findIndex((chunk) => chunk.offset + chunk.bytes.length > received);
    this.chunks = first < 0 ? [] : this.chunks.slice(first);
  }

  /** A new path goes on at `received`: everything after it is sent again. */
  resumeAt(received: number): void {
    if (received < this.acknowledged || received > this.sent) {
      throw new ProtocolError('a resume outside the bytes that are kept');
    }
    this.acknowledge(received);
    this.sent = received;
  }

  private copy(from: number, into: Uint8Array): void {
    for (const chunk of this.chunks) {
      const end = chunk.offset + chunk.bytes.length;
      if (end <= from) continue;
      if (chunk.offset >= from + into.length) return;
      const first = Math.max(0, from - chunk.offset);
      const last = Math.min(chunk.bytes.length, from + into.length - chunk.offset);
      into.set(chunk.bytes.subarray(first, last), chunk.offset + first - from);
    }
  }
}
