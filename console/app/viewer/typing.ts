/**
 * On-screen keyboards report text, not keys: words arrive whole, are corrected in place, and a key press may carry no name.
 * So the viewer keeps a hidden field, compares its text before and after, and types the difference.
 */

/** Stands in the hidden field so that there is always something for Backspace to delete. */
export const FILLER = '_'.repeat(80);

export interface Typed {
  backspaces: number;
  text: string;
}

/** What must be typed to turn `before` into `after`, as seen at its end. */
export function typedDifference(before: string, after: string): Typed {
  const old = Array.from(before);
  const now = Array.from(after);
  let same = 0;
  while (same < old.length && same < now.length && old[same] === now[same]) same += 1;
  return { backspaces: old.length - same, text: now.slice(same).join('') };
}
