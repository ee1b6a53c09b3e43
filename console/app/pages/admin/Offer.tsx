import { Button, Fieldset, Group as Row, Stack, TextInput } from '@mantine/core';
import { useState } from 'react';
import { useChangeWorkspace } from '../../api/deployment';
import { asProblem } from '../../api/problem';
import type { Workspace } from '../../api/types';
import { ProblemNote } from '../../ui/ProblemNote';
import { labelsOf, listOf, textOfLabels } from './listText';

/** Who an entry of the catalogue is for, and where it may run. */
export function Offer({ workspace, disabled }: { workspace: Workspace; disabled: boolean }) {
  const change = useChangeWorkspace();
  const [groups, setGroups] = useState((workspace.groups ?? []).join(', '));
  const [zones, setZones] = useState((workspace.zones ?? []).join(', '));
  const [labels, setLabels] = useState(textOfLabels(workspace.required_labels ?? {}));
  const wanted = labelsOf(labels);
  const problem = change.error ? asProblem(change.error) : null;
  const save = () => {
    if (wanted === null) return;
    change.mutate({ id: workspace.id, patch: { groups: orNull(listOf(groups)), zones: orNull(listOf(zones)), required_labels: wanted } });
  };
  return (
    <Fieldset legend="Who sees it, and where it may run" disabled={disabled}>
      <Stack gap="sm">
        <TextInput
          label="Groups"
          description="Names with commas between; empty: it is for everybody"
          placeholder="everybody"
          value={groups}
          onChange={(event) => setGroups(event.currentTarget.value)}
          error={problem?.at('groups')}
        />
        <TextInput
          label="Zones"
          description="Where it is offered; empty: everywhere"
          placeholder="everywhere"
          value={zones}
          onChange={(event) => setZones(event.currentTarget.value)}
          error={problem?.at('zones')}
        />
        <TextInput
          label="Labels of its agents"
          description="Such as disk=fast; an agent must have all of them"
          placeholder="any agent"
          value={labels}
          onChange={(event) => setLabels(event.currentTarget.value)}
          error={wanted === null ? 'Write each as name=value, with commas between.' : problem?.at('required_labels')}
        />
        {problem && !['groups', 'zones', 'required_labels'].some((field) => problem.at(field) !== null) && <ProblemNote error={problem} />}
        <Row justify="flex-end">
          <Button variant="light" loading={change.isPending} onClick={save}>
            Save
          </Button>
        </Row>
      </Stack>
    </Fieldset>
  );
}

/** No names are no restriction. */
function orNull(names: string[]): string[] | null {
  return names.length === 0 ? null : names;
}
