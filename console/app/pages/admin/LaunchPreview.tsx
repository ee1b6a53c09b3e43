import { Alert, Button, Fieldset, NativeSelect, Skeleton, Stack, Text, TextInput } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { useState } from 'react';
import { usePreview } from '../../api/deployment';
import { useMe, useZones } from '../../api/queries';
import type { Preview, Workspace } from '../../api/types';
import { PlacementFacts } from '../../ui/PlacementFacts';
import { ProblemNote } from '../../ui/ProblemNote';
import { homeState } from '../../ui/homeWords';
import { sentence } from '../../ui/text';

/** What would become of a launch of this workspace, by whomever: in whose catalogue it is, and where it would run. Nothing is reserved. */
export function LaunchPreview({ workspace }: { workspace: Workspace }) {
  const me = useMe().data;
  const zones = useZones().data ?? [];
  const [user, setUser] = useState(me?.name ?? '');
  const [asked] = useDebouncedValue(user.trim(), 400);
  const [zone, setZone] = useState('');
  const preview = usePreview({ workspace: workspace.id, user: asked, zone });
  const first = preview.data?.pages[0];
  const candidates = preview.data?.pages.flatMap((page) => page.candidates) ?? [];
  return (
    <Fieldset legend="What would become of a launch">
      <Stack gap="sm">
        <TextInput label="By" description="A user's name" value={user} onChange={(event) => setUser(event.currentTarget.value)} />
        <NativeSelect
          label="In zone"
          value={zone}
          onChange={(event) => setZone(event.currentTarget.value)}
          data={[{ value: '', label: 'Automatic' }, ...zones.map(({ zone_name: name }) => ({ value: name, label: name }))]}
        />
        {preview.isError && <ProblemNote error={preview.error} onRetry={() => void preview.refetch()} />}
        {preview.isPending && <Skeleton height={120} />}
        {first && !preview.isError && (
          <>
            <Outcome preview={first} />
            <PlacementFacts zones={first.zones} counts={first.counts} candidates={candidates}>
              {preview.hasNextPage && (
                <Button variant="default" onClick={() => void preview.fetchNextPage()} loading={preview.isFetchingNextPage}>
                  More candidates
                </Button>
              )}
            </PlacementFacts>
          </>
        )}
      </Stack>
    </Fieldset>
  );
}

function Outcome({ preview }: { preview: Preview }) {
  const { user, hidden_because: hidden, refusal, choice, counts, home } = preview;
  const against = [hidden === null ? null : `Not in the catalogue of ${user}: ${hidden}`, refusal].filter((why) => why !== null);
  return (
    <div role="status">
      {against.map((why) => (
        <Alert key={why} color="orange" variant="light" mb="xs" title={sentence(why)} />
      ))}
      <Text size="sm">
        It would be asked for in <strong>{choice.zone}</strong>, because {choice.because}
        {against.length > 0 ? '.' : `; ${takers(counts)}`}
      </Text>
      {home && (
        <Text size="sm" mt="xs">
          The home of it is on <strong>{(home.storage ?? null) === null ? home.agent : 'the storage'}</strong> in {home.zone ?? 'a zone that was deleted'} (
          {homeState(home.state)}): it runs there, and nowhere else.
        </Text>
      )}
    </div>
  );
}

/** How many agents could take it. Where images are waited for, those without it can, too: each such count begins with `fits` and says what is the matter. */
function takers(counts: Record<string, number>): string {
  const ready = counts.fits ?? 0;
  const fits = Object.entries(counts).reduce((sum, [verdict, count]) => (verdict.startsWith('fits') ? sum + count : sum), 0);
  if (fits === 0) return 'no agent could take it now.';
  const could = `${fits} of the agents could take it`;
  if (ready === fits) return `${could}.`;
  if (ready > 0) return `${could}, and ${fits - ready} of them would have to load its image first.`;
  const failed = counts['fits, but failed to load its image'] ?? 0;
  const again = failed === 0 ? '' : failed === fits ? ', which failed the last time' : `, which failed the last time on ${failed} of them`;
  return `${could}, but none has its image: it would be loaded first${again}.`;
}
