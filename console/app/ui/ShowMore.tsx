import { Button } from '@mantine/core';

interface Pages {
  hasNextPage: boolean;
  isFetchingNextPage: boolean;
  fetchNextPage: () => Promise<unknown>;
}

/** Below a list that comes in pages, while there is another page. */
export function ShowMore({ list, size }: { list: Pages; size?: 'compact-sm' }) {
  if (!list.hasNextPage) return null;
  return (
    <Button variant="default" {...(size ? { size } : {})} onClick={() => void list.fetchNextPage()} loading={list.isFetchingNextPage}>
      Show more
    </Button>
  );
}
