import { ActionIcon, Button, Menu, Popover } from '@mantine/core';
import { useFullscreenDocument, useLocalStorage } from '@mantine/hooks';
import { type ReactNode, type Ref, useState } from 'react';
import { Link } from 'react-router';
import type { Session } from '../api/types';
import { RelaunchButton } from '../session/RelaunchButton';
import type { Rates } from '../stream/connection';
import {
  BackIcon,
  ChevronDownIcon,
  ChevronUpIcon,
  ClipboardIcon,
  FullScreenIcon,
  KeysIcon,
  LeaveFullScreenIcon,
  StopIcon,
} from '../ui/icons';
import { ClipboardPanel } from './ClipboardPanel';
import classes from './Toolbar.module.css';
import { SoftKeyboard } from './SoftKeyboard';
import { WhereItRuns } from './WhereItRuns';
import { combinations } from './keys';
import { bytesPerSecond, latency } from './rates';
import type { Desktop } from './useDesktop';

interface Props {
  ref: Ref<HTMLElement>;
  session: Session;
  desktop: Desktop;
  onEnd: () => void;
}

/** The bar over the desktop. Folded, it leaves a small tab that still says how the line is and still ends the session. */
export function Toolbar({ ref, session, desktop, onEnd }: Props) {
  const [folded, setFolded] = useLocalStorage({ key: 'meridian.toolbar.folded', defaultValue: false });
  return folded ? (
    <FoldedBar ref={ref} rates={desktop.rates} onEnd={onEnd} onUnfold={() => setFolded(false)} />
  ) : (
    <FullBar ref={ref} session={session} desktop={desktop} onEnd={onEnd} onFold={() => setFolded(true)} />
  );
}

function FoldedBar({ ref, rates, onEnd, onUnfold }: { ref: Ref<HTMLElement>; rates: Rates; onEnd: () => void; onUnfold: () => void }) {
  return (
    <nav ref={ref} className={classes.tab} aria-label="Session">
      <Tool label="Show the toolbar" onClick={onUnfold}>
        <ChevronDownIcon />
      </Tool>
      <span className={classes.figure}>{latency(rates.latencyMs)}</span>
      <EndButton onEnd={onEnd} />
    </nav>
  );
}

function FullBar({ ref, session, desktop, onEnd, onFold }: Props & { onFold: () => void }) {
  const fullScreen = useFullscreenDocument();
  const { screen, rates } = desktop;
  return (
    <nav ref={ref} className={classes.bar} aria-label="Session">
      <ActionIcon
        component={Link}
        to="/"
        variant="subtle"
        color="gray"
        size="md"
        aria-label="Catalogue"
        title="Catalogue (the session goes on)"
      >
        <BackIcon />
      </ActionIcon>
      <span className={classes.name}>
        {session.name} <WhereItRuns session={session} className={classes.zone} />
      </span>
      <RelaunchButton session={session} compact />
      <RateFigures rates={rates} />
      <KeysMenu desktop={desktop} />
      <ClipboardButton desktop={desktop} />
      <SoftKeyboard screen={screen} className={classes.touch} />
      <Tool
        label={fullScreen.fullscreen ? 'Leave full screen' : 'Full screen'}
        onClick={() => {
          void toggleFullScreen(fullScreen.fullscreen);
          screen.current?.focus();
        }}
      >
        {fullScreen.fullscreen ? <LeaveFullScreenIcon /> : <FullScreenIcon />}
      </Tool>
      <Tool label="Hide the toolbar" onClick={onFold}>
        <ChevronUpIcon />
      </Tool>
      <EndButton onEnd={onEnd} />
    </nav>
  );
}

function RateFigures({ rates }: { rates: Rates }) {
  return (
    <span className={classes.rates} role="group" aria-label="Connection">
      <span className={classes.figure} title="Round trip to the workspace’s host">
        {latency(rates.latencyMs)}
      </span>
      <span className={classes.bandwidth} title="Received and sent">
        ↓ {bytesPerSecond(rates.down)} ↑ {bytesPerSecond(rates.up)}
      </span>
    </span>
  );
}

function KeysMenu({ desktop }: { desktop: Desktop }) {
  return (
    <Menu position="bottom-end" returnFocus={false} onClose={() => desktop.screen.current?.focus()}>
      <Menu.Target>
        <ActionIcon variant="subtle" color="gray" size="md" aria-label="Keys" title="Send keys">
          <KeysIcon />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>Send to the workspace</Menu.Label>
        {combinations.map((combination) => (
          <Menu.Item key={combination.label} onClick={() => desktop.screen.current?.press(combination.keys)}>
            {combination.label}
          </Menu.Item>
        ))}
        <Menu.Divider />
        <Menu.Label>Ctrl+Alt+Shift+M: keyboard to this bar</Menu.Label>
      </Menu.Dropdown>
    </Menu>
  );
}

function ClipboardButton({ desktop }: { desktop: Desktop }) {
  const [open, setOpen] = useState(false);
  return (
    <Popover opened={open} onChange={setOpen} position="bottom-end" width={340} trapFocus withArrow shadow="md">
      <Popover.Target>
        <ActionIcon
          variant="subtle"
          color={desktop.clipboardRefusal === null ? 'gray' : 'orange'}
          size="md"
          aria-label="Clipboard"
          title={desktop.clipboardRefusal ?? 'Clipboard'}
          aria-expanded={open}
          onClick={() => setOpen((before) => !before)}
        >
          <ClipboardIcon />
        </ActionIcon>
      </Popover.Target>
      <Popover.Dropdown>
        <ClipboardPanel desktop={desktop} />
      </Popover.Dropdown>
    </Popover>
  );
}

function EndButton({ onEnd }: { onEnd: () => void }) {
  return (
    <Button className={classes.end ?? ''} size="compact-sm" variant="light" color="red" leftSection={<StopIcon />} onClick={onEnd}>
      End session
    </Button>
  );
}

function Tool({ label, onClick, children }: { label: string; onClick: () => void; children: ReactNode }) {
  return (
    <ActionIcon variant="subtle" color="gray" size="md" aria-label={label} title={label} onClick={onClick}>
      {children}
    </ActionIcon>
  );
}

/** In full screen the browser may hand over the keys that it otherwise keeps: Alt-Tab, Super, Esc. */
async function toggleFullScreen(on: boolean): Promise<void> {
  if (on) {
    await document.exitFullscreen();
    return;
  }
  await document.documentElement.requestFullscreen({ navigationUI: 'hide' });
  const { keyboard } = navigator as Navigator & { keyboard?: { lock?: () => Promise<void> } };
  await keyboard?.lock?.().catch(() => undefined);
}
