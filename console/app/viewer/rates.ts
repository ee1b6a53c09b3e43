/** Figures of the line, short enough for a bar and steady enough to read. */

export function latency(ms: number | null): string {
  return ms === null ? '– ms' : `${Math.round(ms)} ms`;
}

export function bytesPerSecond(bytes: number): string {
  const kilobytes = bytes / 1000;
  if (kilobytes >= 1000) return `${(kilobytes / 1000).toFixed(1)} MB/s`;
  if (kilobytes >= 10 || kilobytes === 0) return `${Math.round(kilobytes)} kB/s`;
  return `${kilobytes.toFixed(1)} kB/s`;
}
