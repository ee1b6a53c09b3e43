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
  /** What the browser's clipboard was last seen to hold. */
  private seenHere: string | null = null;

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

  /**
   * Takes note of what the browser's clipboard holds, and gives it to the workspace if it is newer than what that has. True
   * when it was sent. A text that was here before the workspace copied another is not newer.
   */
  found(text: string): boolean {
    const changedHere = this.seenHere === null ? this.pending === null : text !== this.seenHere;
    this.seenHere = text;
    return changedHere && text !== '' && text !== this.shared && this.give(text);
  }

  /** Makes `text` the clipboard of both sides, at the person's word. False when it could not be sent. */
  put(text: string): boolean {
    if (!this.give(text)) return false;
    this.pending = text;
    void this.writePending();
    return true;
  }

  /** Sends the browser's clipboard, where reading it needs no question. */
  readonly focused = (): void => {
    void this.readIfGranted();
  };

  /** Asks the browser for its clipboard, and thereby perhaps the person for leave. False when it was refused. */
  async read(): Promise<boolean> {
    try {
      this.found(await navigator.clipboard.readText());
      return true;
    } catch {
      return false;
    }
  }

  private give(text: string): boolean {
    if (!this.events.send(text)) {
      this.seenHere = null;
      return false;
    }
    this.shared = text;
    this.pending = null;
    this.events.changed(text);
    return true;
  }

  private readonly gesture = (): void => {
    if (this.pending !== null) void this.writePending();
  };

  private async readIfGranted(): Promise<void> {
    if ((await readPermission()) === 'granted') await this.read();
  }

  private async writePending(): Promise<void> {
    const text = this.pending;
    if (text === null || !document.hasFocus()) return;
    // Not without a gesture, in some browsers: the next click or key tries again.
    if (!(await writeText(text))) return;
    this.seenHere = text;
    if (this.pending === text) this.pending = null;
  }
}

/** Writes the browser's clipboard, where there is one (secure contexts only) and the browser allows it. */
export async function writeText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
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
