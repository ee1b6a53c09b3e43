import { Button, Group, NativeSelect, Stack, Switch, Text, TextInput } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { useState } from 'react';
import { type HomeFilter, useDeleteGoneHomes, useHomes, useReleaseHome, useResetHome } from '../../api/homes';
import { may } from '../../api/permissions';
import { useMe } from '../../api/queries';
import type { Home } from '../../api/types';
import { Empty } from '../../ui/Empty';
import { PageSkeleton } from '../../ui/PageSkeleton';
import { ProblemNote } from '../../ui/ProblemNote';
import { ShowMore } from '../../ui/ShowMore';
import { homeState } from '../../ui/homeWords';
import { useConfirm } from '../../ui/useConfirm';
import { HomeTable } from '../homes/HomeTable';

const states: Home['state'][] = ['free', 'in_use', 'put_away', 'away', 'held', 'lost', 'removing'];

/** Everybody's homes. */
export function Homes() {
  const me = useMe().data ?? null;
  const [user, setUser] = useState('');
  const [asked] = useDebouncedValue(user.trim(), 300);
  const [state, setState] = useState('');
  const [gone, setGone] = useState(false);
  const homes = useHomes(filterOf(asked, state, gone));
  const items = homes.data?.pages.flatMap((page) => page.items) ?? [];
  const reset = useResetHome();
  const release = useReleaseHome();
  const remove = useDeleteGoneHomes();
  const { ask, dialog } = useConfirm();
  const mayDelete = may(me, 'sessions:delete');
  const confirmReset = (home: Home) =>
    ask({
      title: `Reset the home of ${home.name} of ${home.user.name}?`,
      text: 'Everything in it is removed and cannot be brought back. Their next launch begins with an empty home.',
      action: 'Remove everything in it',
      onConfirm: () => reset.mutate(home.id),
    });
  const confirmRelease = (home: Home) =>
    ask({
      title: `Take the home of ${home.name} of ${home.user.name} from ${home.agent}?`,
      text: 'The next launch has it on another agent, with what was written until now; what the old session writes from now on is lost.',
      action: 'Take it by force',
      onConfirm: () => release.mutate(home.id),
    });
  const confirmRemove = () =>
    ask({
      title: 'Remove the homes of what was deleted?',
      text: 'Every home whose user or workspace was deleted is removed with everything in it, except those that a session still has.',
      action: 'Remove all of them',
      onConfirm: () => remove.mutate(undefined),
    });
  return (
    <Stack>
      <Group align="flex-end">
        <TextInput label="Of whom" placeholder="everybody" value={user} onChange={(event) => setUser(event.currentTarget.value)} />
        <NativeSelect
          label="State"
          value={state}
          onChange={(event) => setState(event.currentTarget.value)}
          data={[{ value: '', label: 'any' }, ...states.map((value) => ({ value, label: homeState(value) }))]}
        />
        <Switch label="Only of what was deleted" checked={gone} onChange={(event) => setGone(event.currentTarget.checked)} mb={8} />
        {mayDelete && gone && items.length > 0 && (
          <Button color="red" variant="light" loading={remove.isPending} onClick={confirmRemove}>
            Remove them
          </Button>
        )}
      </Group>
      {homes.isError && <ProblemNote error={homes.error} onRetry={() => void homes.refetch()} />}
      {reset.isError && <ProblemNote error={reset.error} />}
      {release.isError && <ProblemNote error={release.error} />}
      {remove.isError && <ProblemNote error={remove.error} />}
      {remove.data && (
        <Text size="sm" role="status">
          {remove.data.deleted} homes are being removed; {remove.data.in_use} stay, because a session still has them.
        </Text>
      )}
      {homes.isPending && <PageSkeleton />}
      {homes.data && !homes.isError && items.length === 0 && (
        <Empty title="No such homes">Homes are kept where a group’s persistent_home says so; each is made at the first launch.</Empty>
      )}
      {!homes.isError && items.length > 0 && <HomeTable homes={items} others onReset={mayDelete ? confirmReset : undefined} onRelease={may(me, 'sessions:modify') ? confirmRelease : undefined} />}
      <ShowMore list={homes} />
      {dialog}
    </Stack>
  );
}

function filterOf(user: string, state: string, gone: boolean): HomeFilter {
  const wanted = states.find((value) => value === state);
  return { ...(user === '' ? {} : { user }), ...(wanted === undefined ? {} : { state: wanted }), ...(gone ? { gone } : {}) };
}
