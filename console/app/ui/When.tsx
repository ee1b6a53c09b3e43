import { useEffect, useState } from 'react';
import { absoluteTime, relativeTime } from './time';

/** A moment as a person says it, with the exact local time on hover. */
export function When({ at }: { at: string | null }) {
  const now = useNow(15_000);
  if (at === null) return <>—</>;
  const date = new Date(at);
  return (
    <time dateTime={at} title={absoluteTime(date)}>
      {relativeTime(date, now)}
    </time>
  );
}

export function useNow(everyMs: number): Date {
  const [now, setNow] = useState(() => new Date());
  useEffect(() => {
    const timer = setInterval(() => setNow(new Date()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}
