"""The WebUI's other options: those that no job may override, and what each is unless somebody changed it.

Clients read all of the WebUI's options, change one and send all of them back. An option about files, grids, the screen
or training changes no picture here; one that shapes pictures passes with the value that it has anyway.
"""

from __future__ import annotations

WITHOUT_EFFECT = frozenset(
    ["add_model_hash_to_info", "add_model_name_to_info", "add_user_name_to_info", "add_vae_hash_to_info", "add_vae_name_to_info", "add_version_to_infotext", "api_enable_requests", "api_forbid_local_requests", "api_useragent", "auto_launch_browser", "canvas_auto_expand", "canvas_blur_prompt", "canvas_disabled_functions", "canvas_hotkey_adjust", "canvas_hotkey_fullscreen", "canvas_hotkey_grow_brush", "canvas_hotkey_move", "canvas_hotkey_overlap", "canvas_hotkey_reset", "canvas_hotkey_shrink_brush", "canvas_hotkey_zoom", "canvas_show_tooltip", "clean_temp_dir_at_start", "compact_prompt_box", "dat_enabled_models", "dataset_filename_join_string", "dataset_filename_word_regex", "dimensions_and_batch_together", "directories_filename_pattern", "directories_max_prompt_words", "disable_mmap_load_safetensors", "disable_token_counters", "disable_weights_auto_swap", "do_not_show_images", "dump_stacks_on_signal", "enable_console_prompts", "enable_pnginfo", "enable_reloading_ui_scripts", "enable_upscale_progressbar", "export_for_4chan", "extra_networks_card_description_is_html", "extra_networks_card_height", "extra_networks_card_order", "extra_networks_card_order_field", "extra_networks_card_show_desc", "extra_networks_card_text_scale", "extra_networks_card_width", "extra_networks_dir_button_function", "extra_networks_hidden_models", "extra_networks_show_hidden_directories", "extra_networks_tree_view_default_enabled", "extra_networks_tree_view_default_width", "extra_networks_tree_view_style", "extra_options_accordion", "extra_options_cols", "extra_options_img2img", "extra_options_txt2img", "face_restoration_unload", "font", "gallery_height", "gradio_theme", "gradio_themes_cache", "grid_background_color", "grid_extended_filename", "grid_format", "grid_only_if_multiple", "grid_prevent_empty_spots", "grid_save", "grid_save_to_dirs", "grid_text_active_color", "grid_text_inactive_color", "grid_zip_filename_pattern", "hidden_tabs", "hide_ldm_prints", "hide_samplers", "hires_fix_show_prompts", "hires_fix_show_sampler", "img2img_batch_show_results_limit", "img2img_editor_height", "img2img_inpaint_mask_brush_color", "img2img_inpaint_sketch_default_brush_color", "img2img_settings_accordion", "img2img_sketch_default_brush_color", "img_downscale_threshold", "img_max_size_mp", "include_styles_into_token_counters", "infotext_explanation", "infotext_skip_pasting", "infotext_styles", "interrogate_keep_models_in_memory", "interrupt_after_current", "js_live_preview_in_modal_lightbox", "js_modal_lightbox", "js_modal_lightbox_gamepad", "js_modal_lightbox_gamepad_repeat", "js_modal_lightbox_initially_zoomed", "keyedit_delimiters", "keyedit_delimiters_whitespace", "keyedit_move", "keyedit_precision_attention", "keyedit_precision_extra", "list_hidden_files", "live_preview_allow_lowvram_full", "live_preview_content", "live_preview_fast_interrupt", "live_preview_refresh_period", "live_previews_enable", "live_previews_image_format", "localization", "lora_add_hashes_to_infotext", "lora_bundled_ti_to_infotext", "lora_hide_unknown_for_versions", "lora_in_memory_limit", "lora_not_found_gradio_warning", "lora_not_found_warning_console", "lora_show_all", "memmon_poll_rate", "multiple_tqdm", "n_rows", "notification_audio", "notification_volume", "open_dir_button_choice", "outdir_extras_samples", "outdir_grids", "outdir_img2img_grids", "outdir_img2img_samples", "outdir_init_images", "outdir_samples", "outdir_save", "outdir_txt2img_grids", "outdir_txt2img_samples", "pin_memory", "postprocessing_disable_in_extras", "postprocessing_enable_in_main_ui", "postprocessing_existing_caption_action", "postprocessing_operation_order", "prevent_screen_sleep_during_generation", "print_hypernet_extra", "profiling_activities", "profiling_enable", "profiling_explanation", "profiling_filename", "profiling_profile_memory", "profiling_record_shapes", "profiling_with_stack", "quicksettings_list", "realesrgan_enabled_models", "restore_config_state_file", "return_grid", "return_mask", "return_mask_composite", "samplers_in_dropdown", "samples_filename_pattern", "samples_log_stdout", "samples_save", "save_images_add_number", "save_images_before_color_correction", "save_images_before_face_restoration", "save_images_before_highres_fix", "save_images_replace_action", "save_incomplete_images", "save_init_img", "save_mask", "save_mask_composite", "save_optimizer_state", "save_selected_only", "save_to_dirs", "save_training_settings_to_txt", "save_txt", "save_write_log_csv", "sd_checkpoint_cache", "sd_checkpoint_dropdown_use_short", "sd_checkpoint_hash", "sd_checkpoints_keep_in_cpu", "sd_checkpoints_limit", "sd_vae_checkpoint_cache", "sd_vae_explanation", "sd_vae_overrides_per_model_preferences", "sd_webui_modal_lightbox_icon_opacity", "sd_webui_modal_lightbox_toolbar_opacity", "send_seed", "send_size", "set_scale_by_when_changing_upscaler", "settings_in_ui", "show_gradio_deprecation_warnings", "show_progress_every_n_steps", "show_progress_grid", "show_progress_in_title", "show_progress_type", "show_progressbar", "show_warnings", "target_side_length", "temp_dir", "textual_inversion_add_hashes_to_infotext", "textual_inversion_print_at_load", "training_enable_tensorboard", "training_image_repeats_per_epoch", "training_tensorboard_flush_every", "training_tensorboard_save_images", "training_write_csv_every", "training_xattention_optimizations", "txt2img_settings_accordion", "ui_extra_networks_tab_reorder", "ui_reorder_list", "ui_tab_order", "unload_models_when_training", "upscaling_max_images_in_cache", "use_original_name_batch", "use_save_to_dirs_for_ui", "use_upscaler_name_as_suffix"]
)
"""Options about files, grids, infotext, the screen, previews and training."""

AT_DEFAULT: dict[str, object] = {
    "auto_backcompat": True,
    "auto_vae_precision": True,
    "auto_vae_precision_bfloat16": False,
    "batch_cond_uncond": True,
    "cache_fp16_weight": False,
    "cross_attention_optimization": "Automatic",
    "deepbooru_escape": True,
    "deepbooru_sort_alpha": True,
    "deepbooru_use_spaces": True,
    "disable_all_extensions": "none",
    "enable_quantization": False,
    "face_restoration": False,
    "fp8_storage": "Disable",
    "interrogate_clip_dict_limit": 1500,
    "interrogate_clip_max_length": 48,
    "interrogate_clip_min_length": 24,
    "interrogate_clip_num_beams": 1,
    "interrogate_deepbooru_score_threshold": 0.5,
    "interrogate_return_ranks": False,
    "lora_functional": False,
    "lora_preferred_name": "Alias from file",
    "persistent_cond_cache": True,
    "sd3_enable_t5": False,
    "sd_lora": "None",
    "sd_unet": "Automatic",
    "tiling": False,
    "extra_networks_add_text_separator": " ",
}
"""Option that shapes pictures, but not job by job → its value in A1111 v1.10.1."""
