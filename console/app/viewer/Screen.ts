/**
 * The picture: noVNC's RFB on the stream's display channel, and what keeps one picture on the page while displays come and
 * go beneath it. When a stream restarts, the last frame stays as a still until the new display has drawn its own.
 */

import RFB from '@novnc/novnc';
import type { DisplayChannel } from '../stream/channel';
import type { Key } from './keys';

export interface ScreenEvents {
  /** The display has drawn its first frame. */
  drawn(): void;
  /** noVNC gave the display up while the stream was well. */
  failed(): void;
}

export class Screen {
  private rfb: RFB | null = null;
  private target: HTMLElement | null = null;
  private still: HTMLCanvasElement | null = null;
  private interactive = true;

  constructor(
    private readonly host: HTMLElement,
    private readonly label: string,
    private readonly events: ScreenEvents,
    /** Somebody else's desktop: it is neither typed into nor made another size. */
    private readonly looksOn = false,
  ) {}

  /** Shows a new display in place of the one before. */
  show(channel: DisplayChannel): void {
    const hadFocus = this.host.contains(document.activeElement);
    this.freeze();
    this.dropDisplay();

    const target = document.createElement('div');
    target.style.cssText = 'position:absolute;inset:0';
    this.host.prepend(target);
    this.target = target;

    const rfb = new RFB(target, channel, { shared: true });
    this.rfb = rfb;
    rfb.background = 'transparent';
    rfb.resizeSession = !this.looksOn;
    // Only until the remote side has taken the size over, and for displays that cannot.
    rfb.scaleViewport = true;
    rfb.showDotCursor = true;
    rfb.qualityLevel = 8;
    rfb.viewOnly = this.looksOn || !this.interactive;
    this.prepareCanvas();

    rfb.addEventListener('connect', () => {
      if (rfb === this.rfb) this.awaitFrame(rfb, hadFocus);
    });
    rfb.addEventListener('disconnect', () => {
      if (rfb === this.rfb) this.events.failed();
    });
  }

  /** While the path is broken, keys are not collected for later: nobody types blind into a desktop. */
  setInteractive(interactive: boolean): void {
    if (this.interactive === interactive) return;
    this.interactive = interactive;
    if (!this.rfb || this.looksOn) return;
    this.rfb.viewOnly = !interactive;
    // The window may have changed its size meanwhile.
    if (interactive) this.rfb.resizeSession = true;
  }

  focus(): void {
    this.rfb?.focus({ preventScroll: true });
  }

  get hasFocus(): boolean {
    return this.host.contains(document.activeElement);
  }

  /** Presses the keys in order and lets them go in reverse. */
  press(keys: readonly Key[]): void {
    for (const key of keys) this.rfb?.sendKey(key.keysym, key.code, true);
    for (const key of keys.toReversed()) this.rfb?.sendKey(key.keysym, key.code, false);
  }

  /** Types a character that no physical key stands for. */
  type(keysym: number): void {
    this.rfb?.sendKey(keysym, null);
  }

  key(key: Key, down: boolean): void {
    this.rfb?.sendKey(key.keysym, key.code, down);
  }

  dispose(): void {
    this.dropDisplay();
    this.host.replaceChildren();
    this.still = null;
  }

  private get canvas(): HTMLCanvasElement | null {
    return this.target?.querySelector('canvas') ?? null;
  }

  private prepareCanvas(): void {
    const { canvas } = this;
    if (!canvas) return;
    // noVNC leaves its canvas out of the tab order; this page has other things to tab to.
    canvas.tabIndex = 0;
    canvas.setAttribute('role', 'application');
    canvas.setAttribute('aria-label', this.label);
    canvas.addEventListener('blur', () => {
      // noVNC hears key releases only while the canvas has the focus, and lets all keys go when the window loses it.
      window.dispatchEvent(new FocusEvent('blur'));
    });
  }

  private awaitFrame(rfb: RFB, focus: boolean): void {
    const probe = document.createElement('canvas');
    probe.width = probe.height = 1;
    const look = () => {
      const { canvas } = this;
      if (rfb !== this.rfb || !canvas) return;
      if (canvas.width > 0 && isDrawn(canvas, probe)) {
        this.thaw();
        if (focus || document.activeElement === document.body) this.focus();
        this.events.drawn();
      } else {
        nextFrame(look);
      }
    };
    look();
  }

  /** Puts a copy of the current picture over the place where the next one will appear. */
  private freeze(): void {
    const { canvas } = this;
    if (!canvas || canvas.width === 0) return;
    const still = document.createElement('canvas');
    still.width = canvas.width;
    still.height = canvas.height;
    still.getContext('2d')?.drawImage(canvas, 0, 0);
    const place = canvas.getBoundingClientRect();
    const frame = this.host.getBoundingClientRect();
    still.style.cssText =
      `position:absolute;left:${place.left - frame.left}px;top:${place.top - frame.top}px;` +
      `width:${place.width}px;height:${place.height}px`;
    this.thaw();
    this.still = still;
    this.host.append(still);
  }

  private thaw(): void {
    this.still?.remove();
    this.still = null;
  }

  private dropDisplay(): void {
    const { rfb, target } = this;
    this.rfb = null;
    this.target = null;
    rfb?.disconnect();
    target?.remove();
  }
}

/** noVNC draws opaque pixels on a transparent canvas. Reading a 1-pixel copy leaves the canvas itself on the GPU. */
function isDrawn(canvas: HTMLCanvasElement, probe: HTMLCanvasElement): boolean {
  const context = probe.getContext('2d', { willReadFrequently: true });
  if (!context) return true;
  context.clearRect(0, 0, 1, 1);
  context.drawImage(canvas, canvas.width >> 1, canvas.height >> 1, 1, 1, 0, 0, 1, 1);
  return (context.getImageData(0, 0, 1, 1).data[3] ?? 0) > 0;
}

/** Animation frames do not come to hidden pages. */
function nextFrame(look: () => void): void {
  if (document.hidden) setTimeout(look, 200);
  else requestAnimationFrame(look);
}
