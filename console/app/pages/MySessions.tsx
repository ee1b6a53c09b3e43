import { Stack, Switch } from '@mantine/core';
import { useState } from 'react';
import { Link } from 'react-router';
import { useSessions } from '../api/queries';
import { SessionList } from '../session/SessionList';
import { Empty } from '../ui/Empty';
import { PageHead } from '../ui/PageHead';
import { PageSkeleton } from '../ui/PageSkeleton';
import { ProblemNote } from '../ui/ProblemNote';
import { ShowMore } from '../ui/ShowMore';
import { useTitle } from '../ui/useTitle';

export default function MySessions() {
  useTitle('My sessions');
  const [ended, setEnded] = useState(false);
  const sessions = useSessions(ended ? { ended: true } : {});
  const items = sessions.data?.pages.flatMap((page) => page.items) ?? [];
  return (
    <>
      <PageHead title="My sessions">
        <Switch
          label="Show ended ones"
          checked={ended}
          onChange={(event) => setEnded(event.currentTarget.checked)}
        />
      </PageHead>
      <Stack>
        {sessions.isError && <ProblemNote error={sessions.error} onRetry={() => void sessions.refetch()} />}
        {sessions.isPending && <PageSkeleton />}
        {sessions.data && items.length === 0 && (
          <Empty title={ended ? 'You have not launched anything yet' : 'Nothing of yours is running'}>
            <Link to="/">Go to the catalogue</Link>
          </Empty>
        )}
        {items.length > 0 && <SessionList sessions={items} />}
        <ShowMore list={sessions} />
      </Stack>
    </>
  );
}
