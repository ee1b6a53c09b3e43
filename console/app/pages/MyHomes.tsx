import { Stack, Text } from '@mantine/core';
import { Link } from 'react-router';
import { useHomes, useResetHome } from '../api/homes';
import { Empty } from '../ui/Empty';
import { PageHead } from '../ui/PageHead';
import { PageSkeleton } from '../ui/PageSkeleton';
import { ProblemNote } from '../ui/ProblemNote';
import { ShowMore } from '../ui/ShowMore';
import { useConfirm } from '../ui/useConfirm';
import { useTitle } from '../ui/useTitle';
import { HomeTable } from './homes/HomeTable';

/** What outlives one's sessions: where it lies, how it stands, and a way to begin anew. */
export default function MyHomes() {
  useTitle('My homes');
  const homes = useHomes(null);
  const items = homes.data?.pages.flatMap((page) => page.items) ?? [];
  const reset = useResetHome();
  const { ask, dialog } = useConfirm();
  return (
    <Stack>
      <PageHead title="My homes" />
      {homes.isError && <ProblemNote error={homes.error} onRetry={() => void homes.refetch()} />}
      {reset.isError && <ProblemNote error={reset.error} />}
      {homes.isPending && <PageSkeleton />}
      {homes.data && items.length === 0 && (
        <Empty title="Nothing is kept for you">
          <span>Where your administrator keeps homes, what you write in a workspace is there again when you launch it the next time.</span>
          <Link to="/">Go to the catalogue</Link>
        </Empty>
      )}
      {items.length > 0 && (
        <>
          <Text size="sm">
            What you write in a workspace stays in its home. A workspace runs where its home is; reset the home to begin with an empty one.
          </Text>
          <HomeTable
            homes={items}
            onReset={(home) =>
              ask({
                title: `Reset the home of ${home.name}?`,
                text: 'Everything in it is removed and cannot be brought back. The next launch begins with an empty home.',
                action: 'Remove everything in it',
                onConfirm: () => reset.mutate(home.id),
              })
            }
          />
        </>
      )}
      <ShowMore list={homes} />
      {dialog}
    </Stack>
  );
}
