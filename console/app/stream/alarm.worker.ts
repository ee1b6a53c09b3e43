/** Waits on behalf of a page: answers each `{serial, delay}` with its serial after the delay; a later one replaces it. */

let timeout: ReturnType<typeof setTimeout> | undefined;

self.onmessage = (event: MessageEvent<{ serial: number; delay: number }>) => {
  clearTimeout(timeout);
  const { serial, delay } = event.data;
  timeout = setTimeout(() => self.postMessage(serial), delay);
};
