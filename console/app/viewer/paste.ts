/**
 * Ctrl-V in the desktop. The key must reach the workspace after the text that it pastes, so the key event is held back, the
 * browser is let paste (which hands the text over without asking for leave), and the key follows the text.
 */

import { type Key, controlLeft } from './keys';

/** How long the browser may take from the key to its paste event; none comes when there is nothing to paste. */
const PASTE_WITHIN_MS = 60;
/** What the workspace gets to take a new clipboard over before the key that asks for it. */
const SETTLE_MS = 60;

export interface PasteTarget {
  hasFocus(): boolean;
  /** Hands over what the browser pastes; true when it was news to the workspace. */
  offer(text: string): boolean;
  /** Reads the browser's clipboard and offers it, where a key press is no paste. */
  read(): Promise<boolean>;
  key(key: Key, down: boolean): void;
}

const isMac = navigator.userAgent.includes('Mac');

export class PasteKey {
  private held: Key | null = null;
  private timer: ReturnType<typeof setTimeout> | null = null;
  private controlDown = false;

  constructor(private readonly target: PasteTarget) {}

  start(): void {
    window.addEventListener('keydown', this.keydown, true);
    window.addEventListener('keyup', this.keyup, true);
    document.addEventListener('paste', this.paste);
  }

  stop(): void {
    window.removeEventListener('keydown', this.keydown, true);
    window.removeEventListener('keyup', this.keyup, true);
    document.removeEventListener('paste', this.paste);
    if (this.timer !== null) clearTimeout(this.timer);
  }

  private readonly keydown = (event: KeyboardEvent): void => {
    this.controlDown = event.ctrlKey;
    const pastes = event.ctrlKey && !event.altKey && !event.metaKey && event.code === 'KeyV';
    if (!pastes || !this.target.hasFocus()) return;
    // noVNC would swallow the key and with it the paste event.
    event.stopImmediatePropagation();
    this.held = { keysym: event.key.codePointAt(0) ?? 0x76, code: event.code };
    if (isMac) {
      event.preventDefault();
      void this.target.read().then(() => this.followAfter(SETTLE_MS));
    } else {
      this.followAfter(PASTE_WITHIN_MS);
    }
  };

  private readonly keyup = (event: KeyboardEvent): void => {
    this.controlDown = event.ctrlKey;
  };

  private readonly paste = (event: ClipboardEvent): void => {
    if (this.held === null) return;
    event.preventDefault();
    const news = this.target.offer(event.clipboardData?.getData('text/plain') ?? '');
    this.followAfter(news ? SETTLE_MS : 0);
  };

  private followAfter(delayMs: number): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = setTimeout(() => this.follow(), delayMs);
  }

  private follow(): void {
    const key = this.held;
    this.held = null;
    this.timer = null;
    if (key === null) return;
    // A quick hand has let Ctrl go by now.
    const addControl = !this.controlDown;
    if (addControl) this.target.key(controlLeft, true);
    this.target.key(key, true);
    this.target.key(key, false);
    if (addControl) this.target.key(controlLeft, false);
  }
}
