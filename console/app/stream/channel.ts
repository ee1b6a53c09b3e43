/**
 * The display channel as noVNC wants it: an object with a WebSocket's face that it takes in place of a socket. It lives as
 * long as one RFB connection, which is longer than a path when streams resume and ends when the stream restarts.
 *
 * Bytes that arrive before anybody listens are kept: noVNC is loaded while the stream opens.
 */

export class DisplayChannel {
  binaryType = 'arraybuffer';
  readonly protocol = 'meridian.v1';
  readyState: number = WebSocket.OPEN;
  onopen: ((event: Event) => void) | null = null;
  onclose: ((event: CloseEvent) => void) | null = null;
  onerror: ((event: Event) => void) | null = null;

  private listener: ((event: MessageEvent) => void) | null = null;
  private early: Uint8Array[] = [];
  private retired = false;

  /** `write` copies what it is given: noVNC reuses its buffer at once. */
  constructor(private readonly write: (bytes: Uint8Array) => void) {}

  get onmessage(): ((event: MessageEvent) => void) | null {
    return this.listener;
  }

  set onmessage(listener: ((event: MessageEvent) => void) | null) {
    this.listener = listener;
    // noVNC assigns its listener a moment before it is ready to use it.
    if (listener) queueMicrotask(() => this.flush());
  }

  send(data: Uint8Array | ArrayBuffer): void {
    if (this.readyState !== WebSocket.OPEN || this.retired) return;
    this.write(data instanceof Uint8Array ? data : new Uint8Array(data));
  }

  /** Called by noVNC, and by the stream when it restarts or stops. */
  close(): void {
    if (this.readyState === WebSocket.CLOSED) return;
    this.readyState = WebSocket.CLOSED;
    this.early = [];
    queueMicrotask(() => this.onclose?.(new CloseEvent('close', { wasClean: true })));
  }

  /**
   * Cuts the channel off without closing it: the picture stays, and the keys that noVNC releases when it is taken down do not
   * reach the stream that comes after.
   */
  retire(): void {
    this.retired = true;
  }

  /** Hands bytes from the stream to noVNC. */
  deliver(bytes: Uint8Array): void {
    if (this.readyState !== WebSocket.OPEN || this.retired) return;
    this.early.push(bytes);
    this.flush();
  }

  private flush(): void {
    while (this.listener && this.early.length > 0) {
      const bytes = this.early.shift();
      this.listener(new MessageEvent('message', { data: bytes }));
    }
  }
}
