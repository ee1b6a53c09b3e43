/** Lists and labels as one line of text, as forms have them. */

/** `london, virginia` */
export function listOf(text: string): string[] {
  return text
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
}

/** `disk=fast, rack=7`; null where something is not `name=value`. */
export function labelsOf(text: string): Record<string, string> | null {
  const labels: Record<string, string> = {};
  for (const entry of listOf(text)) {
    const at = entry.indexOf('=');
    if (at < 1) return null;
    labels[entry.slice(0, at).trim()] = entry.slice(at + 1).trim();
  }
  return labels;
}

export function textOfLabels(labels: Record<string, string>): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}=${value}`)
    .join(', ');
}
