/**
 * One clipboard on two sides. What the workspace copies is written to the browser's clipboard as soon as the browser allows,
 * which may be at the next click or key; what was copied here is sent when the page gets the focus (where reading is
 * permitted) or when the person pastes, which every browser allows.
 */

export interface ClipboardEvents {
  /** False when the text could not be sent. */
  send(text: string): boolean;
  /** The shared text changed, from either side. */
  changed(text: string): void;
}

export class SharedClipboard {
  /** What both sides are known to hold. */
  private shared: string | null = null;
  /** Came from the workspace, not yet in the browser's clipboard. */
  private pending: string | null = null;

  constructor(private readonly events: ClipboardEvents) {}

  start(): void {
    window.addEventListener('focus', this.focused);
    window.addEventListener('pointerdown', this.gesture, true);
    window.addEventListener('keydown', this.gesture, true);
  }

  stop(): void {
    window.removeEventListener('focus', this.focused);
    window.removeEventListener('pointerdown', this.gesture, true);
    window.removeEventListener('keydown', this.gesture, true);
  }

  /** The workspace's clipboard changed. */
  received(text: string): void {
    if (text === this.shared) return;
    this.shared = text;
    this.pending = text;
    this.events.changed(text);
    void this.writePending();
  }

  /** Gives `text` to the workspace; true when it did not have it already. */
  offer(text: string): boolean {
    if (text === '' || text === this.shared) return false;
    if (!this.events.send(text)) return false;
    this.shared = text;
    this.pending = null;
    this.events.changed(text);
    return true;
  }

  /** A display that starts over may have lost what it was given. */
  forget(): void {
    this.shared = null;
  }

  /** Sends the browser's clipboard, where reading it needs no question. */
  readonly focused = (): void => {
    void this.readIfGranted();
  };

  /** Asks the browser for its clipboard, and thereby perhaps the person for leave. False when it was refused. */
  async read(): Promise<boolean> {
    try {
      this.offer(await navigator.clipboard.readText());
      return true;
    } catch {
      return false;
    }
  }

  private readonly gesture = (): void => {
    if (this.pending !== null) void this.writePending();
  };

  private async readIfGranted(): Promise<void> {
    if (this.pending === null && (await readPermission()) === 'granted') await this.read();
  }

  private async writePending(): Promise<void> {
    const text = this.pending;
    if (text === null || !document.hasFocus()) return;
    try {
      await navigator.clipboard.writeText(text);
      if (this.pending === text) this.pending = null;
    } catch {
      // Not without a gesture, in some browsers: the next click or key tries again.
    }
  }
}

/** Whether the page may read the clipboard; `unknown` where browsers ask at each paste or have no such permission. */
export async function readPermission(): Promise<PermissionState | 'unknown'> {
  try {
    const status = await navigator.permissions.query({ name: 'clipboard-read' as PermissionName });
    return status.state;
  } catch {
    return 'unknown';
  }
}
