import { useEffect, useState } from 'react';
import { serverNow } from '../api/clock';

/** The server's time, as it goes on. */
export function useServerNow(): number {
  const [now, setNow] = useState(() => serverNow());
  useEffect(() => {
    const timer = setInterval(() => setNow(serverNow()), 1_000);
    return () => clearInterval(timer);
  }, []);
  return now;
}
